"""Curves of a yes/no score: what each threshold finds, and at what price."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys_mtl.metrics.weighing import Floats

_POINTS = 200


@dataclass(frozen=True)
class Ranking:
    """Rows by falling score, where scores differ.

    Attributes:
        thresholds: (P,) the score of the last row that counts as chosen; the first is infinite.
        chosen: (P,) their share of all rows, from 0 to 1.
        found: (P,) their share of the positives (recall, true positive rate).
        alarms: (P,) their share of the negatives (false positive rate).
        positives: share of positives among all rows.
    """

    thresholds: Floats
    chosen: Floats
    found: Floats
    alarms: Floats
    positives: float

    @property
    def precision(self) -> Floats:
        """(P,) share of positives among the chosen; that of the first threshold is not defined."""
        with np.errstate(invalid="ignore"):
            return self.found * self.positives / self.chosen

    def at(self, share: float) -> int:
        """Index of the last threshold that chooses no more than this share of the rows."""
        return int(np.searchsorted(self.chosen, share * (1 + 1e-12), side="right")) - 1

    def thinned(self) -> NDArray[np.intp]:
        """Indices of at most some hundred points that show the curve, both ends among them."""
        count = len(self.chosen)
        if count <= _POINTS:
            return np.arange(count)
        even = np.searchsorted(self.chosen, np.linspace(0, 1, _POINTS))
        early = np.searchsorted(self.chosen, np.geomspace(1e-4, 0.1, _POINTS // 4))
        return np.unique(np.clip(np.concatenate([[0], early, even, [count - 1]]), 0, count - 1))


def ranking(labels: Floats, scores: Floats, weights: Floats) -> Ranking | None:
    """What each threshold chooses; None where only one class has weight.

    Args:
        labels: (N,) 0 or 1.
        scores: (N,) larger for likelier positives.
        weights: (N,) not negative.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    score = np.asarray(scores, np.float64)[order]
    weight = np.asarray(weights, np.float64)[order]
    positive = np.cumsum(weight * np.asarray(labels, np.float64)[order])
    mass = np.cumsum(weight)
    if not len(mass) or positive[-1] <= 0 or positive[-1] >= mass[-1]:
        return None
    last = np.flatnonzero(np.r_[score[1:] != score[:-1], True])
    found = np.r_[0.0, positive[last]]
    chosen = np.r_[0.0, mass[last]]
    return Ranking(
        thresholds=np.r_[np.inf, score[last]],
        chosen=chosen / mass[-1],
        found=found / positive[-1],
        alarms=(chosen - found) / (mass[-1] - positive[-1]),
        positives=float(positive[-1] / mass[-1]),
    )
