"""Charts and tables of one task's predictions for the report of a training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from recsys_mtl.metrics import prepare_reliability, reliability
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


@dataclass(frozen=True)
class CalibrationBins:
    """Predictions of a yes/no task in bins of equal weight: (B,) each.

    Attributes:
        predicted: mean prediction.
        observed: share of positives.
        mass: weight of the rows.
        count: effective rows: as many of equal weight vary as much, (Σw)² / Σw² (Kish 1965).
        lower: where 95 in 100 shares of a calibrated model begin.
        upper: where they end.
    """

    predicted: Array
    observed: Array
    mass: Array
    count: Array
    lower: Array
    upper: Array

    @classmethod
    def of(cls, rows: Labelled, bins: int) -> CalibrationBins:
        """At most so many bins of the rows."""
        weigh = prepare_reliability(rows.labels, rows.predicted, rows.weights, bins=bins)
        predicted, observed, mass = weigh(rows.weights)
        count = mass**2 / weigh(rows.weights**2)[2]
        reach = _Z * np.sqrt(predicted * (1 - predicted) / np.maximum(count, 1))
        lower, upper = np.maximum(predicted - reach, 0.0), np.minimum(predicted + reach, 1.0)
        return cls(predicted, observed, mass, count, lower, upper)

    @property
    def outside(self) -> NDArray[np.bool_]:
        """Which bins lie outside their band."""
        return (self.observed < self.lower) | (self.observed > self.upper)

    def verdict(self) -> str:
        """Whether chance explains what is seen, and the predictions in total."""
        bins, outside = len(self.predicted), int(self.outside.sum())
        expected, happened = (float(of @ self.mass) for of in (self.predicted, self.observed))
        # So many or more of a calibrated model's bins: by the binomial distribution
        agrees = outside == 0 or float(bdtrc(outside - 1, bins, 0.05)) >= _RARE
        variances = self.predicted * (1 - self.predicted) / np.maximum(self.count, 1)
        level = abs(happened - expected) <= _Z_RARE * np.sqrt(self.mass**2 @ variances)
        verdict = "No sign of miscalibration" if agrees and level else "Not calibrated"
        total = f" Predicted in total: {expected / happened:.2f} times what was" if happened else ""
        total += "" if not happened else "." if level else ", more than chance explains."
        return (
            f"{verdict}: {outside} of {bins} bins lie outside the band that 95 in 100 of a "
            f"calibrated model's stay in.{total}"
        )


def event_figures(task: str, rows: Labelled, bins: CalibrationBins) -> list[Figure]:
    """Calibration, ROC, precision and gain of a yes/no task; only the first with one class."""
    figures = [calibration_figure(task, bins)]
    ranked = rows.ranking
    if ranked is None:
        return figures
    points = ranked.thinned()
    return [*figures, _roc(task, ranked, points), _precision(task, ranked, points),
            _gain(task, ranked, points)]  # fmt: skip


def calibration_figure(task: str, bins: CalibrationBins) -> Figure:
    """Mean prediction and share of positives by bins, with what chance allows."""
    predicted, observed, count = bins.predicted, bins.observed, bins.count
    axis = Axis.over([0.0, *predicted, *observed], percent=True)
    chart = Chart(
        f"{task}: calibration", f"{bins.verdict()} Larger marks hold more effective rows.",
        Axis(axis.low, axis.high, "mean prediction", percent=True),
        Axis(axis.low, axis.high, "share of positives", percent=True),
    )  # fmt: skip
    lower, upper = (zip(predicted, edge, strict=True) for edge in (bins.lower, bins.upper))
    chart.band(list(lower), list(upper))
    start = max(axis.low, 0.0)
    chart.guide((start, start), (axis.high, axis.high))
    for p, o, n in zip(predicted, observed, count, strict=True):
        text = f"{n:,.0f} effective rows: predicted {p:.2%}, positive {o:.2%}"
        chart.marks([(p, o)], size=2 + 4 * float(np.sqrt(n / count.max())), text=text)
    return Figure(chart)


def calibration_table(task: str, bins: CalibrationBins) -> Table:
    """The bins in numbers."""
    lines = [
        (f"{p:.2%}", f"{o:.2%}", f"{n:,.0f}", f"{low:.2%} to {high:.2%}", "outside" if out else "")
        for p, o, n, low, high, out in zip(
            bins.predicted, bins.observed, bins.count, bins.lower, bins.upper, bins.outside,
            strict=True,
        )
    ]  # fmt: skip
    columns = ("mean prediction", "positives", "effective rows", "a calibrated model's", "band")
    return Table(f"{task}: calibration", columns, lines, texts=0)


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
    for budget in _BUDGETS:
        if i := ranked.at(budget):
            text = f"{budget:.0%} of the rows: {ranked.found[i]:.1%} of the positives"
            chart.marks([(ranked.chosen[i], ranked.found[i])], 3, text=text)
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
