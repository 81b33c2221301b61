from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given
from hypothesis import strategies as st

from recsys_mtl.metrics import Undefined
from recsys_mtl.metrics.multiclass import (
    log_loss,
    mcfadden_r2,
    ndcg_at_3,
    prepare_mcfadden_r2,
)
from recsys_mtl.tasks.evaluate import evaluate_task


def example(rows: int = 500, classes: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    p = random.dirichlet(np.ones(classes), rows)
    labels = np.array([random.choice(classes - 1, p=q[:-1] / q[:-1].sum()) for q in p], float)
    return labels, p, random.integers(1, 4, rows).astype(float)


def test_by_hand() -> None:
    p = np.array([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1], [0.1, 0.6, 0.2, 0.1]])
    labels = np.array([3.0, 2.0, 0.0])
    metrics = evaluate_task("multiclass", labels, p)
    assert metrics["accuracy"] == pytest.approx(1 / 3)
    assert metrics["macro_f1"] == pytest.approx(1 / 4)  # class 3 is right, 0, 1 and 2 are not
    assert metrics["log_loss"] == pytest.approx(-math.log(0.4 * 0.2 * 0.1) / 3)
    # Ranks 1, 3, and 4: the third label ties with class 3, which ranks before it.
    assert metrics["ndcg_at_3"] == pytest.approx((1 + 1 / 2 + 0) / 3)


def test_equals_sklearn_with_weights() -> None:
    labels, p, weights = example()
    metrics = evaluate_task("multiclass", labels, p, weights)
    best = p.argmax(1)
    one_hot = np.eye(p.shape[1])[labels.astype(int)]
    expected = {
        "accuracy": reference.accuracy_score(labels, best, sample_weight=weights),
        "macro_f1": reference.f1_score(labels, best, average="macro", sample_weight=weights),
        "log_loss": reference.log_loss(labels, p, sample_weight=weights, labels=range(5)),
        "ndcg_at_3": reference.ndcg_score(one_hot, p, k=3, sample_weight=weights),
    }
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, rel=1e-9), name


def test_order_of_rows_does_not_matter() -> None:
    labels, p, weights = example()
    order = np.argsort(labels)
    complete = evaluate_task("multiclass", labels, p, weights)
    again = evaluate_task("multiclass", labels[order], p[order], weights[order])
    assert complete == pytest.approx(again)


def test_one_class() -> None:
    metrics = evaluate_task("multiclass", np.ones(2), np.array([[0.2, 0.8], [0.6, 0.4]]))
    assert metrics["macro_f1"] == Undefined("all labels are of one class")
    assert metrics["accuracy"] == pytest.approx(0.5)


def test_zero_probability_is_finite() -> None:
    metrics = evaluate_task("multiclass", np.array([0.0, 1.0]), np.array([[0.0, 1.0], [0.0, 1.0]]))
    assert metrics["log_loss"] == pytest.approx(-math.log(1e-7) / 2)


def test_mcfadden_s_is_the_log_loss_against_that_of_the_shares() -> None:
    labels, p, weights = example()
    shares = np.bincount(labels.astype(int), weights, 5) / weights.sum()
    losses = [
        reference.log_loss(labels, q, sample_weight=weights, labels=range(5))
        for q in (p, np.tile(shares, (len(p), 1)))
    ]
    assert mcfadden_r2(labels, p, weights) == pytest.approx(1 - losses[0] / losses[1], rel=1e-9)
    constant = mcfadden_r2(labels, np.tile(shares, (len(p), 1)), weights)
    assert constant == pytest.approx(0.0, abs=1e-12)
    assert mcfadden_r2(labels, np.eye(5)[labels.astype(int)], weights) == pytest.approx(1.0)


def test_mcfadden_s_of_one_class() -> None:
    p, weights = np.array([[0.2, 0.8], [0.6, 0.4]]), np.array([0.1, 0.7])
    assert mcfadden_r2(np.ones(2), p, weights) == Undefined("all labels are of one class")


@given(st.lists(st.tuples(*[st.integers(1, 5)] * 6, st.integers(1, 3)), min_size=1, max_size=4))
def test_probabilities_as_labels_are_the_expectation_over_drawn_labels(
    rows: list[tuple[int, ...]],
) -> None:
    parts = np.array(rows, float)
    chances, p, weights = parts[:, :3], parts[:, 3:6], parts[:, 6]
    chances, p = (q / q.sum(1, keepdims=True) for q in (chances, p))
    loss = 0.0
    for drawn in itertools.product(range(3), repeat=len(rows)):
        labels = np.array(drawn, float)
        loss += chances[np.arange(len(rows)), list(drawn)].prod() * log_loss(labels, p, weights)
    assert log_loss(chances, p, weights) == pytest.approx(loss)
    shares = np.average(chances, axis=0, weights=weights)
    constant = -(shares * np.log(shares)).sum()
    assert mcfadden_r2(chances, p, weights) == pytest.approx(1 - loss / constant)


def test_one_hot_labels_are_labels() -> None:
    labels, p, weights = example()
    one_hot = np.eye(5)[labels.astype(int)]
    for metric in (log_loss, mcfadden_r2):
        assert metric(one_hot, p, weights) == pytest.approx(metric(labels, p, weights))


def test_the_truth_has_the_best_score_against_itself() -> None:
    _, p, weights = example()
    assert mcfadden_r2(p, p, weights) > mcfadden_r2(p, p**1.1 / (p**1.1).sum(1)[:, None], weights)


@pytest.mark.parametrize("soft", [False, True])
def test_one_preparation_serves_all_weights(soft: bool, rng: np.random.Generator) -> None:
    labels, p, weights = example()
    labels = p[::-1] if soft else labels
    weigh, some = prepare_mcfadden_r2(labels, p), rng.random(len(p)) < 0.5
    expected = mcfadden_r2(labels[some], p[some], weights[some])
    assert weigh(weights * some) == pytest.approx(expected, rel=1e-9)
    assert np.isnan(weigh(np.zeros(len(p))))


def test_ranks_by_parts_are_those_of_all_rows_at_once() -> None:
    rng = np.random.default_rng(0)
    labels, weights = rng.integers(0, 6, 9_000).astype(float), rng.random(9_000)
    probabilities = rng.dirichlet(np.ones(6), 9_000).astype(np.float32)
    own = probabilities[np.arange(9_000), labels.astype(int)][:, None]
    rank = (probabilities >= own).sum(1)
    gain = np.where(rank <= 3, 1 / np.log2(1.0 + rank), 0.0)
    assert ndcg_at_3(labels, probabilities, weights) == np.average(gain, weights=weights)
