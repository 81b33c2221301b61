from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics as reference

from recsys_mtl.metrics import Undefined, evaluate_task
from recsys_mtl.metrics.binary import calibration_error


def example(rows: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    p = np.round(random.beta(1, 4, rows), 2).astype(np.float32)  # rounded: many ties
    labels = (random.random(rows) < p).astype(np.float32)
    return labels, p, random.integers(1, 4, rows).astype(np.float64)


def test_by_hand() -> None:
    labels, p = np.array([1.0, 0, 1, 0]), np.array([0.8, 0.4, 0.3, 0.1])
    metrics = evaluate_task("binary", labels, p, calibration_bins=2)
    log_loss = -(math.log(0.8) + math.log(0.6) + math.log(0.3) + math.log(0.9)) / 4
    assert metrics["auc"] == pytest.approx(3 / 4)
    assert metrics["pr_auc"] == pytest.approx((1 + 2 / 3) / 2)
    assert metrics["log_loss"] == pytest.approx(log_loss)
    assert metrics["normalized_entropy"] == pytest.approx(log_loss / math.log(2))
    # Bins {0.1, 0.3} and {0.4, 0.8}: mean labels 1/2 and 1/2, mean probabilities 0.2 and 0.6.
    assert metrics["calibration_error"] == pytest.approx((0.3 + 0.1) / 2)
    assert metrics["calibration_ratio"] == pytest.approx(0.4 / 0.5)


def test_equals_sklearn_with_weights() -> None:
    labels, p, weights = example()
    metrics = evaluate_task("binary", labels, p, weights)
    clipped = np.clip(p.astype(np.float64), 1e-7, 1 - 1e-7)
    expected = {
        "auc": reference.roc_auc_score(labels, p, sample_weight=weights),
        "pr_auc": reference.average_precision_score(labels, p, sample_weight=weights),
        "log_loss": reference.log_loss(labels, clipped, sample_weight=weights),
    }
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, rel=1e-9), name


def test_a_weight_is_a_number_of_copies() -> None:
    labels, p, weights = example()
    copies = np.repeat(np.arange(len(p)), weights.astype(int))
    weighted = evaluate_task("binary", labels, p, weights)
    copied = evaluate_task("binary", labels[copies], p[copies])
    for name, value in weighted.items():
        assert value == pytest.approx(copied[name], rel=1e-9), name


def test_order_of_rows_does_not_matter_and_batches_are_not_averaged() -> None:
    labels, p, weights = example()
    whole = evaluate_task("binary", labels, p, weights)
    order = np.argsort(p)  # batches of this order are as unlike as can be
    again = evaluate_task("binary", labels[order], p[order], weights[order])
    for name, value in whole.items():
        assert value == pytest.approx(again[name], rel=1e-9), name
    halves = [evaluate_task("binary", labels[h], p[h]) for h in np.split(order, 2)]
    assert abs(np.mean([h["auc"] for h in halves]) - whole["auc"]) > 0.05


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class(label: float) -> None:
    metrics = evaluate_task("binary", np.full(3, label), np.array([0.2, 0.5, 0.9]))
    for name in ("auc", "pr_auc", "normalized_entropy"):
        assert metrics[name] == Undefined("all labels are of one class")
    assert isinstance(metrics["log_loss"], float)
    assert isinstance(metrics["calibration_error"], float)
    ratio = metrics["calibration_ratio"]
    if label == 0:
        assert ratio == Undefined("no positive label")
    else:
        assert ratio == pytest.approx(1.6 / 3)


def test_certain_and_wrong_is_finite() -> None:
    metrics = evaluate_task("binary", np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    assert metrics["log_loss"] == pytest.approx(-math.log(1e-7))
    assert metrics["auc"] == 0.0


def test_calibration_bins_hold_equal_weight() -> None:
    p = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    labels, weights = np.array([0.0, 1, 0, 1, 1, 0]), np.array([3.0, 1, 1, 1, 1, 2])
    gaps = [3 * 0.1, (0.2 - 1) + 0.3 + (0.4 - 1), (0.5 - 1) + 2 * 0.6]  # three bins of weight 3
    expected = sum(abs(gap) for gap in gaps) / 9
    assert calibration_error(labels, p, weights, bins=3) == pytest.approx(expected)


def test_equal_probabilities_share_a_calibration_bin() -> None:
    labels = np.repeat([0.0, 1.0], 50)  # sorted: cutting through the tie would look miscalibrated
    metrics = evaluate_task("binary", labels, np.full(100, 0.5))
    assert metrics["calibration_error"] == pytest.approx(0.0, abs=1e-12)
    assert metrics["auc"] == pytest.approx(0.5)


def test_calibrated_predictions_have_a_small_error() -> None:
    random = np.random.default_rng(1)
    p = random.random(100_000)
    labels = (random.random(100_000) < p).astype(float)
    good = evaluate_task("binary", labels, p)["calibration_error"]
    bad = evaluate_task("binary", labels, p**2)["calibration_error"]
    assert good < 0.01 < 0.1 < bad
