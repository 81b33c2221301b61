from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from recsys_mtl.metrics.weighing import Score, on_rows
from recsys_mtl.tasks import KINDS, kind_of
from recsys_mtl.tasks.evaluate import evaluate_task

Rng = np.random.Generator
COUNT = 211


def made(kind: str, rng: Rng) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Labels of all rows, and what three models say: ties in the second, nothing in the third."""
    z = rng.normal(size=COUNT)
    noisy = z + rng.normal(size=COUNT)
    if kind == "binary":
        return (noisy > 0) * 1.0, [z, np.round(z), np.zeros(COUNT)]
    if kind == "regression":
        return np.round(noisy, 1), [z, np.round(z), np.full(COUNT, 0.3)]
    if kind == "count":
        return rng.poisson(np.exp(z / 2)) * 1.0, [np.exp(z / 2), 1 + np.abs(z), np.full(COUNT, 0.7)]
    if kind == "customer_value":
        some = 1 / (1 + np.exp(-z))
        pairs = [np.stack([some, amount], 1) for amount in (np.exp(z), np.round(some, 1), some * 0)]
        return np.where(noisy > 0, np.exp(noisy), 0.0), pairs
    if kind == "retrieval":
        ranks = rng.integers(1, 6, COUNT) * 1.0
        return ranks, [ranks, np.where(rng.random(COUNT) < 0.2, np.inf, ranks), ranks + 2]
    predictions = [rng.dirichlet(np.ones(4) * k, COUNT) for k in (1, 3)]
    return rng.integers(0, 4, COUNT) * 1.0, [*predictions, np.full((COUNT, 4), 0.25)]


def make_score(
    kind: str,
    rows: NDArray[np.int64],
    labels: list[NDArray[np.float64]],
    predictions: list[NDArray[np.float64]],
) -> Score:
    return on_rows(rows, kind_of(kind).score(labels, predictions))


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("weighted", [False, True])
def test_they_are_the_metrics_of_evaluation(kind: str, weighted: bool, rng: Rng) -> None:
    labels, predictions = made(kind, rng)
    weights = rng.choice([0.0, 0.5, 2.0], COUNT) if weighted else np.ones(COUNT)
    actual = make_score(kind, np.arange(COUNT), [labels] * 3, predictions)(weights)
    for value, predicted in zip(actual, predictions, strict=True):
        expected = evaluate_task(kind, labels, predicted, weights)[kind_of(kind).main]
        assert value == pytest.approx(expected if isinstance(expected, float) else 0.0, abs=1e-12)


def test_classes_may_be_numbered_differently(rng: Rng) -> None:
    labels, (predicted, *_) = made("multiclass", rng)
    order = np.array([2, 0, 3, 1])
    renamed = np.argsort(order)[labels.astype(int)] * 1.0
    pair = [labels, renamed], [predicted, predicted[:, order]]
    first, second = make_score("multiclass", np.arange(COUNT), *pair)(np.ones(COUNT))
    assert first == pytest.approx(second, abs=1e-12)


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_row_of_weight_three_is_as_three_rows(kind: str, rng: Rng) -> None:
    labels, predictions = made(kind, rng)
    counts = rng.integers(0, 4, COUNT)
    weighted = make_score(kind, np.arange(COUNT), [labels] * 3, predictions)(counts * 1.0)
    repeated = np.repeat(np.arange(COUNT), counts)
    several = [labels[repeated]] * 3, [predicted[repeated] for predicted in predictions]
    loop = make_score(kind, np.arange(len(repeated)), *several)(np.ones(len(repeated)))
    assert weighted == pytest.approx(loop, abs=1e-12)


@pytest.mark.parametrize("kind", list(KINDS))
def test_rows_are_indices_among_all(kind: str, rng: Rng) -> None:
    labels, predictions = made(kind, rng)
    weights = rng.random(COUNT)
    rows = np.flatnonzero(rng.random(COUNT) < 0.5)
    some = [labels[rows]] * 3, [predicted[rows] for predicted in predictions]
    actual = make_score(kind, rows, *some)(weights)
    alone = make_score(kind, np.arange(len(rows)), *some)(weights[rows])
    assert actual == pytest.approx(alone, abs=1e-12)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_labels_that_are_all_equal_have_no_score(kind: str, rng: Rng) -> None:
    _, predictions = made(kind, rng)
    score = make_score(kind, np.arange(COUNT), [np.ones(COUNT)] * 3, predictions)
    assert np.isnan(score(np.ones(COUNT))).all()


@pytest.mark.parametrize("kind", list(KINDS))
def test_no_weight_has_no_score(kind: str, rng: Rng) -> None:
    labels, predictions = made(kind, rng)
    score = make_score(kind, np.arange(COUNT), [labels] * 3, predictions)
    assert np.isnan(score(np.zeros(COUNT))).all()
    assert np.isfinite(score(np.ones(COUNT))).all()
