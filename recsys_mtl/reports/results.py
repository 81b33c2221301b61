"""What a person sees of a run: one table of per-task results beside the baselines."""

from __future__ import annotations

import sys
from collections.abc import Mapping

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


def print_results(
    title: str,
    kinds: Mapping[str, TaskKind],
    columns: Mapping[str, Mapping[str, Metrics]],
    *,
    caption: str | None = None,
) -> None:
    """Print a table: a row per task and metric of the first column, a column per model.

    Args:
        title: above the table.
        kinds: kind of each task.
        columns: by model, then task, the metrics; what a column lacks stays empty.
        caption: below the table.
    """
    table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    table.caption, table.caption_justify = caption, "left"
    table.add_column("task", no_wrap=True)
    table.add_column("metric", no_wrap=True)
    for name in columns:
        table.add_column(name.replace("_", " "), justify="right")
    for task, kind in kinds.items():
        first = next(iter(columns.values()))[task]
        shown = [m for m in first if m in _SHOWN[kind] or m.startswith("recall_at_")]
        for row, metric in enumerate(shown):
            cells = [_cell(by_task.get(task, {}).get(metric)) for by_task in columns.values()]
            table.add_row("" if row else task, metric, *cells, end_section=row == len(shown) - 1)
    console = Console(width=None if sys.stdout.isatty() else _WIDTH_IN_FILES)
    console.print(table)


def _cell(metric: Metric | None) -> str:
    if metric is None:
        return ""
    return "undefined" if isinstance(metric, Undefined) else f"{metric:.4f}"
