"""Weighted sums and ranks, of which the metrics consist.

Work that does not depend on the weights (sorting) is done once, so a metric is cheap for each
resample. A row of weight 2 equals two rows, in ranks too.

Shapes: R rows of a set, N labelled rows among them, M models, V distinct values.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating]
Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Weighing: TypeAlias = Callable[[Array], float]
"""Weights (N,), not negative -> a metric of these rows; NaN if undefined."""
Score: TypeAlias = Callable[[Array], Floats]
"""Weights -> a metric of several models (M,); NaN if undefined."""


def together(models: Sequence[Weighing]) -> Score:
    """One metric of several models."""
    return lambda weights: np.array([weigh(weights) for weigh in models])


def on_rows(rows: Ints, score: Score) -> Score:
    """A score of rising rows (N,) of all, as a function of the weights of all (R,)."""
    return lambda weights: score(weights if len(rows) == len(weights) else weights.take(rows))


def mean(values: Array, weights: Array) -> float:
    """The weighted mean, in float64."""
    return float(np.average(values, weights=weights))


def prepare_mean(values: Array) -> Weighing:
    """The weighted mean of values (N,), as a function of the weights."""

    def weigh(weights: Array) -> float:
        return mean(values, weights) if weights.sum() > 0 else float("nan")

    return weigh


def entropy(shares: Array) -> float:
    """Of shares that sum to 1, in nats."""
    return -float((shares * np.log(np.where(shares > 0, shares, 1.0))).sum())


def dense_ranks(values: Array) -> Ints:
    """(N,) the index of each value among the distinct ones, in rising order."""
    return np.unique(values, return_inverse=True)[1]


def rising(ranks: Ints) -> Ints:
    """(N,) the rows by their dense rank, ties in their order; a fast stable sort."""
    if ranks.max(initial=0) < 1 << 16:
        return np.argsort(ranks.astype(np.uint16), kind="stable")  # radix sort
    return np.argsort(ranks * len(ranks) + np.arange(len(ranks)))


class Ranking:
    """Rows in the order of their values.

    Attributes:
        order: (N,) the rows, by rising value.
    """

    def __init__(self, ranks: Ints) -> None:
        """Sort dense ranks (N,)."""
        self.order = rising(ranks)
        in_order, counts = ranks[self.order], np.bincount(ranks)
        self._up_to = np.cumsum(counts)[in_order]
        self._below = self._up_to - counts[in_order]
        self._tied = bool((counts > 1).any())

    def centred(self, weights: Floats) -> Floats:
        """Twice the weighted mid-ranks, minus their mean; integers for integer weights.

        Args:
            weights: (N,) in the order of the ranking, as the result.
        """
        mass = running_sum(weights)
        if self._tied:
            centred = mass.take(self._below) + mass.take(self._up_to)
        else:
            centred = mass[:-1] + mass[1:]
        centred -= mass[-1]
        return centred


def sums(index: Ints, values: Array) -> Floats:
    """(V,) the sum of the values (N,) of each index (N,)."""
    return np.bincount(index, values).astype(np.float64, copy=False)


def running_sum(values: Floats) -> Floats:
    """(V + 1,) the sum of the first 0 to V of the values (V,).

    Torch's is four times as fast as numpy's, with the same digits, but not worth an import.
    """
    cumulated = np.zeros(len(values) + 1)
    torch = sys.modules.get("torch")
    if torch is None:
        np.cumsum(values, out=cumulated[1:])
    else:
        torch.cumsum(torch.from_numpy(values), 0, out=torch.from_numpy(cumulated[1:]))
    return cumulated
