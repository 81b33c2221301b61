"""Numbers of one run, and their mean and spread over runs.

Shapes: R runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys_mtl.metrics.differences import Difference, difference
from recsys_mtl.study.unit import UnitResult


@dataclass(frozen=True)
class Spread:
    """Over runs.

    Attributes:
        mean: NaN without a run.
        sd: with R − 1; NaN for fewer than two.
        count: R.
    """

    mean: float
    sd: float
    count: int


def spread(values: Sequence[float]) -> Spread:
    """Of those that are finite."""
    every = np.asarray(values, np.float64)
    known = every[np.isfinite(every)]
    count = len(known)
    return Spread(
        mean=float(known.mean()) if count else float("nan"),
        sd=float(known.std(ddof=1)) if count > 1 else float("nan"),
        count=count,
    )


def floats(values: Sequence[float | None]) -> list[float]:
    """Null is NaN."""
    return [float("nan") if value is None else float(value) for value in values]


def weighted(unit: UnitResult, losses: Sequence[float | None]) -> float:
    """The loss: the sum of the tasks' losses by their fixed weights."""
    return float(np.dot(unit["weights"], floats(losses)))


def final_loss(unit: UnitResult) -> float:
    """After the last epoch."""
    return weighted(unit, unit["epochs"][-1]["losses"])


def train_curve(unit: UnitResult) -> list[float]:
    """Loss of each epoch's steps."""
    return [weighted(unit, epoch["train_losses"]) for epoch in unit["epochs"]]


def mean_auroc(unit: UnitResult) -> float:
    """Over tasks, after the last epoch; NaN where it is undefined."""
    return float(np.mean(floats(unit["epochs"][-1]["auroc"])))


def steps_to(unit: UnitResult, loss: float) -> int | None:
    """Steps until the first measured loss below; None: never."""
    below = (steps for steps, losses in unit["looks"] if weighted(unit, losses) < loss)
    return next(below, None)


def saved(results: Sequence[UnitResult], reference: Sequence[UnitResult]) -> Difference:
    """Loss of the reference minus that of a method, pair by pair: above 0 the method is better.

    Two runs of the same seed and rerun are a pair.
    """
    losses, others = (
        {(unit["seed"], unit["rerun"]): final_loss(unit) for unit in units}
        for units in (results, reference)
    )
    pairs = [others[pair] - loss for pair, loss in losses.items() if pair in others]
    return difference(np.array(pairs, np.float64))
