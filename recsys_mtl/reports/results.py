"""A run's results for a reader: one table of metrics per task next to the baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Table

from recsys_mtl.metrics import Metric, Metrics, Undefined
from recsys_mtl.reports.page import terminal
from recsys_mtl.tasks import kind_of


@dataclass(frozen=True)
class ResultTable:
    """A row per task and metric of the first column, a column per model.

    Attributes:
        title: above the table.
        kinds: kind of each task.
        columns: by model, then task, the metrics; what a column lacks stays empty.
        caption: below the table.
    """

    title: str
    kinds: Mapping[str, str]
    columns: Mapping[str, Mapping[str, Metrics]]
    caption: str | None = None

    def show(self) -> None:
        """Print it."""
        table = Table(title=self.title, title_justify="left", show_edge=False, pad_edge=False)
        table.caption, table.caption_justify = self.caption, "left"
        table.add_column("task", no_wrap=True)
        table.add_column("metric", no_wrap=True)
        for name in self.columns:
            table.add_column(name.replace("_", " "), justify="right")
        models = list(self.columns.values())
        for task, kind in self.kinds.items():
            specs = [metric for metric in kind_of(kind).section.metrics if metric.shown]
            shown = [name for name in models[0][task] if any(m.is_of(name) for m in specs)]
            for row, metric in enumerate(shown):
                cells = [_cell(by_task.get(task, {}).get(metric)) for by_task in models]
                last = row == len(shown) - 1
                table.add_row("" if row else task, metric, *cells, end_section=last)
        terminal(highlight=True).print(table)


def _cell(metric: Metric | None) -> str:
    if metric is None:
        return ""
    return "undefined" if isinstance(metric, Undefined) else f"{metric:.4f}"
