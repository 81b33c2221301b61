"""What an ablation returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recsys_mtl.ablation.summary import ArmSummary, Summary
from recsys_mtl.metrics.differences import Difference, verdict
from recsys_mtl.reports.typed import Result

_SCHEMA = {
    "arm": pl.String, "task": pl.String, "score": pl.Float64, "difference": pl.Float64,
    "low": pl.Float64, "high": pl.Float64, "p": pl.Float64, "adjusted": pl.Float64,
    "won": pl.Int64, "lost": pl.Int64, "verdict": pl.String,
}  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class AblationResult(Result):
    """Arms on paired seeds, and what their differences show.

    Attributes:
        name: of the ablation.
        summary: its numbers.
        report: the page, report.md.
    """

    name: str
    summary: Summary
    report: Path

    def to_frame(self) -> pl.DataFrame:
        """A row an arm and task, and one with null as the task for the mean over tasks.

        `difference` to the reference, with its interval, in points; null for the reference.
        """
        rows = [
            (name, task, *_cells(self.summary, arm, task))
            for name, arm in self.summary.arms.items()
            for task in (None, *arm.scores)
        ]
        return pl.DataFrame(rows, schema=_SCHEMA, orient="row").fill_nan(None)


def task_verdict(summary: Summary, one: Difference) -> str:
    """Whether an arm helps a task, by the ablation's own level and by what matters."""
    return verdict(one, alpha=1 - summary.level, matters=summary.matters)[0]


def _cells(summary: Summary, arm: ArmSummary, task: str | None) -> tuple[object, ...]:
    score = None if task is None else arm.scores[task]
    one = arm.overall if task is None else arm.tasks.get(task)
    if one is None:
        return (score, *[None] * 8)
    word = arm.word if task is None else task_verdict(summary, one)
    numbers = (one.mean, one.low, one.high, one.p, one.adjusted, one.wins, one.losses)
    return (score, *numbers, word)
