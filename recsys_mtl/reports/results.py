"""What a person sees of a run: one table of per-task results beside the baselines."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from recsys_mtl.columns.spec import TaskKind
from recsys_mtl.metrics import Metric, Metrics, Undefined

_WIDTH_IN_FILES = 100
_SHOWN: dict[TaskKind, tuple[str, ...]] = {
    "binary": ("auc", "pr_auc", "log_loss", "calibration_ratio"),
    "multiclass": ("accuracy", "macro_f1", "log_loss"),
    "regression": ("rmse", "r2", "rank_correlation"),
    "retrieval": ("mrr",),
}


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
    kinds: Mapping[str, TaskKind]
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
            shown = [m for m in models[0][task] if m in _SHOWN[kind] or m.startswith("recall_at_")]
            for row, metric in enumerate(shown):
                cells = [_cell(by_task.get(task, {}).get(metric)) for by_task in models]
                last = row == len(shown) - 1
                table.add_row("" if row else task, metric, *cells, end_section=last)
        Console(width=None if sys.stdout.isatty() else _WIDTH_IN_FILES).print(table)


def _cell(metric: Metric | None) -> str:
    if metric is None:
        return ""
    return "undefined" if isinstance(metric, Undefined) else f"{metric:.4f}"
