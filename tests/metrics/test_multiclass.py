from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics as reference

from recsys_mtl.metrics import Undefined, evaluate_task


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
    whole = evaluate_task("multiclass", labels, p, weights)
    again = evaluate_task("multiclass", labels[order], p[order], weights[order])
    assert whole == pytest.approx(again)


def test_one_class() -> None:
    metrics = evaluate_task("multiclass", np.ones(2), np.array([[0.2, 0.8], [0.6, 0.4]]))
    assert metrics["macro_f1"] == Undefined("all labels are of one class")
    assert metrics["accuracy"] == pytest.approx(0.5)


def test_zero_probability_is_finite() -> None:
    metrics = evaluate_task("multiclass", np.array([0.0, 1.0]), np.array([[0.0, 1.0], [0.0, 1.0]]))
    assert metrics["log_loss"] == pytest.approx(-math.log(1e-7) / 2)
