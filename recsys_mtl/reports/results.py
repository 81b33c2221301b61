"""A run's results for a reader: one table of metrics per task next to the baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.box import HORIZONTALS
from rich.table import Table

from recsys_mtl.metrics import Metric, Metrics, Undefined
from recsys_mtl.reports.page import Page, terminal
from recsys_mtl.reports.page import Table as PageTable
from recsys_mtl.tasks import kind_of

_WIDEST = 1000  # characters


@dataclass(frozen=True)
class ResultTable:
    """A row per task and metric of the first column, a column per model.

    Attributes:
        title: above the table.
        kinds: kind of each task.
        columns: by model, then task, the metrics; what a column lacks stays empty.
        caption: below the table.
        segments: a table of its own, below.
        intervals: of 95 %, by task and metric of the first column; none: no column of them.
    """

    title: str
    kinds: Mapping[str, str]
    columns: Mapping[str, Mapping[str, Metrics]]
    caption: str | None = None
    segments: PageTable | None = None
    intervals: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)

    def show(self) -> None:
        """Print it; without intervals on a terminal that is too narrow for them."""
        console = terminal(highlight=True)
        table = self._table(intervals=any(self.intervals.values()))
        needed = console.measure(table, options=console.options.update(max_width=_WIDEST))
        if needed.minimum > console.width and console.is_terminal:
            table = self._table(intervals=False)
        elif not console.is_terminal:
            console.width = max(console.width, needed.minimum)
        console.print(table)
        if self.segments is not None:
            Page("", [self.segments]).show()

    def _table(self, *, intervals: bool) -> Table:
        lines: dict[str, Any] = {"box": HORIZONTALS, "padding": (0, 1, 0, 0), "show_edge": False}
        table = Table(title=self.title, title_justify="left", pad_edge=False, **lines)
        table.caption, table.caption_justify = self.caption, "left"
        table.add_column("task", no_wrap=True)
        table.add_column("metric", no_wrap=True)
        for i, name in enumerate(self.columns):
            table.add_column(name.replace("_", " "), justify="right")
            if i == 0 and intervals:
                table.add_column("95 % interval", justify="right", no_wrap=True)
        models = list(self.columns.values())
        for task, kind in self.kinds.items():
            section = kind_of(kind).section
            specs = [m for m in (*section.metrics, *section.of_lists) if m.shown]
            shown = [name for name in models[0][task] if any(m.is_of(name) for m in specs)]
            for row, metric in enumerate(shown):
                cells = [_cell(by_task.get(task, {}).get(metric)) for by_task in models]
                if intervals:
                    cells.insert(1, _interval(self.intervals.get(task, {}).get(metric)))
                last = row == len(shown) - 1
                table.add_row("" if row else task, metric, *cells, end_section=last)
        return table


def boosting_note(boosting: Mapping[str, Mapping[str, Any]]) -> str:
    """A line for each baseline of `boosting` in result.json: its library, settings and trees."""
    return "\n".join(_boosting(name, of) for name, of in boosting.items())


def _boosting(name: str, numbers: Mapping[str, Any]) -> str:
    models = {task: of for task, of in numbers["models"].items() if of}
    trees = (f"{task} {' + '.join(str(m['trees']) for m in of)}" for task, of in models.items())
    parts = [f"{name}: {numbers['library']}", f"trees: {', '.join(trees) or 'none'}"]
    settings = [model["settings"] for of in models.values() for model in of]
    if any(other != settings[0] for other in settings):
        parts.insert(1, "settings by task in result.json")
    elif settings:
        parts.insert(1, ", ".join(f"{key} {value}" for key, value in settings[0].items()))
    return "; ".join(parts)


def _interval(edges: tuple[float, float] | None) -> str:
    return "" if edges is None else f"{edges[0]:.4f} to {edges[1]:.4f}"


def _cell(metric: Metric | None) -> str:
    if metric is None:
        return ""
    return "undefined" if isinstance(metric, Undefined) else f"{metric:.4f}"
