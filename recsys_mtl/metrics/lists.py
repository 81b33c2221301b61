"""Metrics of ranking within lists: a list is all rows of one group, such as a user's impressions.

Larger labels are better; a row with a label above 0 is relevant, and its gain in NDCG is the label.
A row of weight 2 equals two rows. Of equal scores AUC counts one half, NDCG takes the mean over
their orders (McSherry & Najork 2008); the first relevant row of a list comes after all irrelevant
rows of its score, so hit rate and MRR never gain by ties. Lists whose labels are alike say nothing
and are left out.

Shapes: N rows, L lists, V distinct scores of a list, one list after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys_mtl.metrics.undefined import Metric, Undefined
from recsys_mtl.metrics.weighing import Array, Floats, Ints, dense_ranks

_ALIKE = "in every list all labels are alike"


@dataclass(frozen=True)
class ListMetrics:
    """Metrics of every list, and their means.

    Attributes:
        values: metric -> (L,), NaN where the list says nothing.
        masses: (L,) weight of a list's rows.
        first: (L,) index of a list's first row among the rows given.
        ranked: lists with labels that differ.
        undefined: why no list has a value; empty where there are values.
    """

    values: dict[str, Floats]
    masses: Floats
    first: Ints
    ranked: int
    undefined: str = ""

    def mean(self, name: str, times: Array | Ints | None = None) -> float:
        """The mean over lists; NaN where none has a value.

        GAUC weighs lists by their rows (Zhu et al. 2017), the others weigh them alike.

        Args:
            name: of the metric.
            times: (L,) how often each list was drawn; None: once.
        """
        values = self.values[name]
        weights = self.masses if name == "gauc" else np.ones(len(values))
        weights = np.where(np.isnan(values), 0.0, weights if times is None else weights * times)
        total = weights.sum()
        return float(weights @ np.nan_to_num(values) / total) if total > 0 else float("nan")

    def metrics(self) -> dict[str, Metric]:
        """The mean of every metric."""
        means = {name: self.mean(name) for name in self.values}
        why = self.undefined or _ALIKE
        return {n: Undefined(why) if np.isnan(value) else value for n, value in means.items()}


def list_metrics(
    labels: Array, scores: Array, weights: Array, lists: Ints, names: Sequence[str]
) -> ListMetrics:
    """Metrics of ranking within lists, in O(N log N).

    Args:
        labels: (N,) at least one.
        scores: (N,) that rows are ranked by.
        weights: (N,) positive.
        lists: (N,) whose rows they are, any numbers.
        names: `gauc`, `mrr`, `ndcg_at_K`, `hit_rate_at_K`.
    """
    _, first, index = np.unique(lists, return_index=True, return_inverse=True)
    known: Floats = np.asarray(labels, np.float64)
    mass: Floats = np.asarray(weights, np.float64)
    low, high = np.full(len(first), np.inf), np.full(len(first), -np.inf)
    np.minimum.at(low, index, known)
    np.maximum.at(high, index, known)
    mixed, differ = (low <= 0) & (high > 0), low < high
    ranked = int((mixed if "gauc" in names else differ).sum())
    masses = np.bincount(index, mass).astype(np.float64)
    if low.min() < 0:
        values = dict.fromkeys(names, np.full(len(first), np.nan))
        return ListMetrics(values, masses, first, ranked, "some labels are negative")
    order = _Order(index, np.asarray(scores, np.float64), known, mass)
    ideal, values = _Order(index, known, known, mass), {}
    for name in names:
        k = int(name.rpartition("_")[2]) if "_at_" in name else 0
        if name.startswith("ndcg_at_"):
            values[name] = order.gains(k) / np.where(differ, ideal.gains(k), np.nan)
        elif name == "gauc":
            values[name] = order.pairs_won()
        else:
            rank = order.first_rank()
            value = 1 / rank if name == "mrr" else (rank <= k).astype(np.float64)
            values[name] = np.where(mixed, value, np.nan)
    return ListMetrics(values, masses, first, ranked)


class _Order:
    """Rows by list, then by falling score; rows of one list and score are one step."""

    def __init__(self, index: Ints, scores: Floats, labels: Floats, weights: Floats) -> None:
        ranks = dense_ranks(scores)
        steps = (index + 1) * (int(ranks.max()) + 1) - ranks  # one number for each list and score
        order = np.argsort(steps)  # several times as fast as a sort by two keys
        steps, lists = steps[order], index[order]
        starts = np.flatnonzero(np.r_[True, steps[1:] != steps[:-1]])
        labels, weights = labels[order], weights[order]
        self._lists = lists[starts]
        self._count = int(index.max()) + 1
        self._relevant = np.add.reduceat(weights * (labels > 0), starts)
        self._others = np.add.reduceat(weights * (labels <= 0), starts)
        self._gain = np.add.reduceat(weights * labels, starts)
        self._weight = np.add.reduceat(weights, starts)

    def pairs_won(self) -> Floats:
        """(L,) ties half; NaN of lists with one class."""
        others = self._of_list(self._others)
        below = others[self._lists] - self._up_to(self._others) + self._others / 2
        pairs = self._of_list(self._relevant) * others
        won = self._of_list(self._relevant * below)
        shares: Floats = np.divide(won, pairs, out=np.full(self._count, np.nan), where=pairs > 0)
        return shares

    def first_rank(self) -> Floats:
        """(L,) of the first relevant row, from 1; infinite where there is none."""
        ranks = np.full(self._count, np.inf)
        steps = np.flatnonzero(self._relevant > 0)
        own, first = np.unique(self._lists[steps], return_index=True)
        ranks[own] = 1 + self._up_to(self._others)[steps[first]]
        return ranks

    def gains(self, k: int) -> Floats:
        """(L,) discounted gain of the first k rows (Järvelin & Kekäläinen 2002)."""
        discounts = np.r_[0.0, np.cumsum(1 / np.log2(np.arange(2, k + 2)))]
        end = self._up_to(self._weight)
        covered = [np.interp(at, np.arange(k + 1), discounts) for at in (end - self._weight, end)]
        return self._of_list(self._gain / self._weight * (covered[1] - covered[0]))

    def _of_list(self, values: Floats) -> Floats:
        return np.bincount(self._lists, values, self._count).astype(np.float64, copy=False)

    def _up_to(self, values: Floats) -> Floats:
        """(V,) sum of a list's values up to each step, itself included."""
        total = np.cumsum(values)
        before = np.r_[0.0, total][np.searchsorted(self._lists, np.arange(self._count))]
        sums: Floats = total - before[self._lists]
        return sums
