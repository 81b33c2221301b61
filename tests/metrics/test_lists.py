"""Metrics within lists against slow literal versions, with ties, weights and lists of one class."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest

from recsys_mtl.metrics import Undefined
from recsys_mtl.metrics.lists import list_metrics

NAMES = ("gauc", "ndcg_at_1", "ndcg_at_3", "hit_rate_at_1", "hit_rate_at_2", "mrr")
Row = tuple[float, float]
"""Label and score."""


def auc(rows: list[Row]) -> float:
    won = [
        (own > other) + (own == other) / 2
        for label, own in rows
        for against, other in rows
        if label > 0 >= against
    ]
    return float(np.mean(won)) if won else float("nan")


def ndcg(rows: list[Row], k: int) -> float:
    def gain(labels: list[float]) -> float:
        return sum(label / np.log2(i + 2) for i, label in enumerate(labels[:k]))

    if len({label for label, _ in rows}) == 1:
        return float("nan")
    by_order = [
        gain([label for label, _ in order])
        for order in permutations(rows)
        if all(a[1] >= b[1] for a, b in pairwise(order))
    ]
    return float(np.mean(by_order)) / gain(sorted((label for label, _ in rows), reverse=True))


def rank(rows: list[Row]) -> float:
    """Of the first relevant row, after all irrelevant rows of its score."""
    order = sorted(rows, key=lambda row: (-row[1], row[0] > 0))
    relevant = [label > 0 for label, _ in order]
    if all(relevant) or not any(relevant):
        return float("nan")
    best = max(score for label, score in rows if label > 0)
    return 1.0 + sum(score >= best and label <= 0 for label, score in rows)


def literal(lists: list[list[Row]]) -> dict[str, float]:
    of = {name: [] for name in NAMES}
    for rows in lists:
        first = rank(rows)
        of["gauc"].append(auc(rows))
        of["mrr"].append(1 / first)
        for k in (1, 3):
            of[f"ndcg_at_{k}"].append(ndcg(rows, k))
        for k in (1, 2):
            of[f"hit_rate_at_{k}"].append(float("nan") if np.isnan(first) else first <= k)
    means = {name: float(np.nanmean(values)) for name, values in of.items()}
    sizes = np.array([len(rows) for rows in lists])
    known = ~np.isnan(of["gauc"])
    weighted = np.average(np.array(of["gauc"])[known], weights=sizes[known])
    return means | {"gauc": float(weighted)}


@pytest.mark.parametrize("largest_label", [1, 3])
def test_they_are_those_of_a_loop_over_lists(rng: np.random.Generator, largest_label: int) -> None:
    """Rows of weight 2 are written out twice in the loop; a third of the scores are tied."""
    count = 44
    index = rng.permutation(np.arange(count) % 13) * 10**17 + 7  # at most 4 rows each
    labels = rng.integers(0, largest_label + 1, count) * (rng.random(count) < 0.5) * 1.0
    scores = rng.integers(0, 4, count) / 4
    weights = rng.choice([1.0, 2.0], count, p=[0.8, 0.2])
    loop = [
        [
            (labels[i], scores[i])
            for i in np.flatnonzero(index == one)
            for _ in range(int(weights[i]))
        ]
        for one in np.unique(index)
    ]
    ours = list_metrics(labels, scores, weights, index, NAMES)
    assert ours.metrics() == pytest.approx(literal(loop))
    one_class = [len({label > 0 for label, _ in rows}) == 1 for rows in loop]
    assert len(ours.first) - ours.ranked == sum(one_class)
    order = rng.permutation(count)
    shuffled = (values[order] for values in (labels, scores, weights, index))
    assert list_metrics(*shuffled, NAMES).metrics() == pytest.approx(ours.metrics())


def test_a_constant_gains_nothing_by_its_ties() -> None:
    labels, lists = np.array([1.0, 0, 0, 0, 1, 0, 0, 0]), np.repeat([1, 2], 4)
    values = list_metrics(labels, np.zeros(8), np.ones(8), lists, NAMES).metrics()
    assert values == pytest.approx(
        {"gauc": 0.5, "mrr": 0.25, "hit_rate_at_1": 0, "hit_rate_at_2": 0}
        | {"ndcg_at_1": 0.25, "ndcg_at_3": (1 + 1 / np.log2(3) + 0.5) / 4}
    )


@pytest.mark.parametrize(
    ("labels", "why"), [([1.0, 1, 1], "alike"), ([0.0, 0, 0], "alike"), ([-1.0, 0, 1], "negative")]
)
def test_what_says_nothing_is_undefined(labels: list[float], why: str) -> None:
    ones = np.ones(3)
    values = list_metrics(np.array(labels), np.arange(3.0), ones, ones.astype(int), NAMES)
    for value in values.metrics().values():
        assert isinstance(value, Undefined)
        assert why in value.reason


def test_a_list_drawn_twice_counts_twice() -> None:
    labels, scores = np.array([1.0, 0, 1, 0]), np.array([2.0, 1, 1, 2])
    both = list_metrics(labels, scores, np.ones(4), np.array([5, 5, 6, 6]), ("gauc", "mrr"))
    assert both.mean("gauc") == 0.5
    assert both.mean("gauc", np.array([2, 0])) == 1.0
    assert both.mean("mrr", np.array([1, 3])) == pytest.approx((1 + 3 / 2) / 4)
