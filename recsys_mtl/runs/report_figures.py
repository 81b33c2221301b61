"""Charts and tables of one task's predictions for the report of a training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import bdtrc

from recsys_mtl.metrics import reliability
from recsys_mtl.metrics.curves import Ranking, ranking
from recsys_mtl.metrics.weighing import Floats
from recsys_mtl.reports.axis import Axis
from recsys_mtl.reports.document import Figure
from recsys_mtl.reports.page import Table
from recsys_mtl.reports.svg import Chart
from recsys_mtl.training.evaluate import Array

_BUDGETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_TENTHS = 10
_Z = 1.96
_RARE = 0.01
_Z_RARE = 2.58


@dataclass(frozen=True)
class Labelled:
    """Rows of one task with a label and a weight above 0: (N,) each."""

    labels: Floats
    predicted: Floats
    weights: Floats

    @classmethod
    def of(cls, labels: Array, predicted: Array, weights: Array) -> Labelled:
        """Those rows among all."""
        rows = ~np.isnan(labels) & (weights > 0)
        return cls(*(np.asarray(of[rows], np.float64) for of in (labels, predicted, weights)))

    @cached_property
    def ranking(self) -> Ranking | None:
        """What each threshold of a yes/no prediction chooses; None with one class."""
        return ranking(self.labels, self.predicted, self.weights)


def event_figures(task: str, rows: Labelled, bins: int) -> list[Figure]:
    """Calibration, ROC, precision and gain of a yes/no task; only the first with one class."""
    figures = [calibration_figure(task, rows, bins)]
    ranked = rows.ranking
    if ranked is None:
        return figures
    points = ranked.thinned()
    return [*figures, _roc(task, ranked, points), _precision(task, ranked, points),
            _gain(task, ranked, points)]  # fmt: skip


def calibration_figure(task: str, rows: Labelled, bins: int) -> Figure:
    """Mean prediction and share of positives by bins of equal weight, with what chance allows."""
    predicted, observed, mass = reliability(rows.labels, rows.predicted, rows.weights, bins=bins)
    count = mass * len(rows.labels) / rows.weights.sum()
    reach = _Z * np.sqrt(predicted * (1 - predicted) / np.maximum(count, 1))
    lower, upper = np.maximum(predicted - reach, 0.0), np.minimum(predicted + reach, 1.0)
    outside = int(((observed < lower) | (observed > upper)).sum())
    axis = Axis.over([0.0, *predicted, *observed], percent=True)
    chart = Chart(
        f"{task}: calibration", _calibration_verdict(predicted, observed, mass, count, outside),
        Axis(axis.low, axis.high, "mean prediction", percent=True),
        Axis(axis.low, axis.high, "share of positives", percent=True),
    )  # fmt: skip
    chart.band(list(zip(predicted, lower, strict=True)), list(zip(predicted, upper, strict=True)))
    start = max(axis.low, 0.0)
    chart.guide((start, start), (axis.high, axis.high))
    for p, o, n in zip(predicted, observed, count, strict=True):
        chart.marks([(p, o)], size=2 + 4 * float(np.sqrt(n / count.max())))
    return Figure(chart)


def _calibration_verdict(
    predicted: Array, observed: Array, mass: Array, count: Array, outside: int
) -> str:
    bins = len(predicted)
    expected, happened = float(predicted @ mass), float(observed @ mass)
    # So many or more of a calibrated model's bins: by the binomial distribution
    agrees = outside == 0 or float(bdtrc(outside - 1, bins, 0.05)) >= _RARE
    spread = np.sqrt(np.sum(mass**2 * predicted * (1 - predicted) / np.maximum(count, 1)))
    level = abs(happened - expected) <= _Z_RARE * spread
    verdict = "No sign of miscalibration" if agrees and level else "Not calibrated"
    total = "" if not happened else f" Predicted in total: {expected / happened:.2f} times what was"
    total += "" if not happened else "." if level else ", more than chance explains."
    return (
        f"{verdict}: {outside} of {bins} bins lie outside the band that 95 in 100 of a calibrated "
        f"model's stay in.{total} Larger marks hold more rows."
    )


def tenths_figure(task: str, rows: Labelled) -> Figure:
    """Mean prediction and mean label by tenths of the predictions."""
    predicted, observed, _ = reliability(rows.labels, rows.predicted, rows.weights, bins=_TENTHS)
    axis = Axis.over([*predicted, *observed])
    chart = Chart(
        f"{task}: means by tenths of the predictions",
        "On the dashed line the mean prediction equals the mean label.",
        Axis(axis.low, axis.high, "mean prediction"), Axis(axis.low, axis.high, "mean label"),
    )  # fmt: skip
    chart.guide((axis.low, axis.low), (axis.high, axis.high))
    chart.line(list(zip(predicted, observed, strict=True)), marked=True)
    return Figure(chart)


def _roc(task: str, ranked: Ranking, points: Iterable[int]) -> Figure:
    chart = Chart(
        f"{task}: ROC", "Share of the positives above a threshold against that of the negatives.",
        Axis(0, 1, "negatives above the threshold", percent=True),
        Axis(0, 1, "positives above the threshold", percent=True),
    )  # fmt: skip
    chart.guide((0, 0), (1, 1))
    chart.line([(ranked.alarms[i], ranked.found[i]) for i in points])
    return Figure(chart)


def _precision(task: str, ranked: Ranking, points: Iterable[int]) -> Figure:
    chart = Chart(
        f"{task}: precision and recall",
        f"The dashed line is the share of positives among all rows, {ranked.positives:.2%}.",
        Axis(0, 1, "recall: positives above the threshold", percent=True),
        Axis(0, 1, "precision: of those above it", percent=True),
    )  # fmt: skip
    chart.guide((0, ranked.positives), (1, ranked.positives))
    chart.line([(ranked.found[i], ranked.precision[i]) for i in points if i])
    return Figure(chart)


def _gain(task: str, ranked: Ranking, points: Iterable[int]) -> Figure:
    chart = Chart(
        f"{task}: gain",
        "Share of the positives among the best-scored rows; the dashed line is a choice by chance.",
        Axis(0, 1, "rows chosen, the best first", percent=True),
        Axis(0, 1, "positives found", percent=True),
    )  # fmt: skip
    chart.guide((0, 0), (1, 1))
    chart.line([(ranked.chosen[i], ranked.found[i]) for i in points])
    marked = [ranked.at(budget) for budget in _BUDGETS]
    chart.marks([(ranked.chosen[i], ranked.found[i]) for i in marked if i], 3)
    return Figure(chart)


def budget_table(task: str, rows: Labelled) -> Table | None:
    """The threshold for a budget of rows, and what it finds; None with one class."""
    ranked = rows.ranking
    if ranked is None:
        return None
    lines = []
    for budget in _BUDGETS:
        i = ranked.at(budget)
        if i == 0:  # more rows share the best score
            continue
        lines.append(
            (
                f"{budget:.0%}", f"{ranked.thresholds[i]:.4g}", f"{ranked.chosen[i]:.2%}",
                f"{ranked.found[i]:.1%}", f"{ranked.precision[i]:.1%}",
                f"{ranked.found[i] / ranked.chosen[i]:.2f}",
            )
        )  # fmt: skip
    columns = ("budget", "threshold", "rows chosen", "positives found", "precision", "lift")
    note = "Rows whose prediction is at least the threshold; equal predictions are not split."
    return Table(f"{task}: what a budget finds", columns, lines, texts=0, note=note)
