from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given
from hypothesis import strategies as st

from recsys_mtl.metrics import Undefined
from recsys_mtl.metrics.binary import (
    auc,
    auc_of_masses,
    calibration_error,
    calibration_ratio,
    log_loss,
    pr_auc,
    pr_auc_of_masses,
    prepare_auc,
    prepare_calibration_error,
)
from recsys_mtl.tasks.evaluate import evaluate_task


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
    complete = evaluate_task("binary", labels, p, weights)
    order = np.argsort(p)  # batches of this order are as unlike as can be
    again = evaluate_task("binary", labels[order], p[order], weights[order])
    for name, value in complete.items():
        assert value == pytest.approx(again[name], rel=1e-9), name
    halves = [evaluate_task("binary", labels[h], p[h]) for h in np.split(order, 2)]
    assert abs(np.mean([h["auc"] for h in halves]) - complete["auc"]) > 0.05


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


ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 0.7, 1.0]), st.integers(0, 4), st.integers(0, 3)),
    min_size=1,
    max_size=8,
)
Rows = list[tuple[float, int, int]]


def pairs(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Won and all, over all pairs of a positive and a negative row, one by one."""
    won = every = 0.0
    for i, j in itertools.permutations(range(len(labels)), 2):
        weight = weights[i] * labels[i] * weights[j] * (1 - labels[j])
        every += weight
        won += weight * ((scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]))
    return won, every


@given(ROWS)
def test_auc_is_the_sum_over_pairs(rows: Rows) -> None:
    labels, scores, weights = np.array(rows, float).T
    won, every = pairs(labels, scores, weights)
    if every == 0:
        assert auc(labels, scores, weights) == Undefined("all labels are of one class")
    else:
        assert auc(labels, scores, weights) == pytest.approx(won / every, abs=1e-12)


@given(ROWS)
def test_a_probability_as_a_label_is_the_expectation_over_drawn_labels(rows: Rows) -> None:
    """Every way to draw them, with its chance."""
    chances, scores, weights = np.array(rows[:5], float).T
    weights += 1
    predicted, above = (scores + 1) / 6, scores >= scores[:, None]
    won = every = loss = hits = precision = 0.0
    for drawn in itertools.product([0.0, 1.0], repeat=len(chances)):
        labels = np.array(drawn)
        chance = np.where(labels == 1, chances, 1 - chances).prod()
        if chance == 0:
            continue
        some, positive = pairs(labels, scores, weights), labels * weights
        won, every = won + chance * some[0], every + chance * some[1]
        loss += chance * log_loss(labels, predicted, weights)
        hits += chance * positive.sum()
        precision += chance * (positive @ ((above @ positive) / (above @ weights)))
    assert log_loss(chances, predicted, weights) == pytest.approx(loss)
    if every > 1e-9:
        assert auc(chances, scores, weights) == pytest.approx(won / every, abs=1e-9)
        assert pr_auc(chances, scores, weights) == pytest.approx(precision / hits, abs=1e-9)
        ratio = predicted @ weights / hits
        assert calibration_ratio(chances, predicted, weights) == pytest.approx(ratio)


def test_of_many_rows_it_is_what_drawn_labels_give_in_the_mean(rng: np.random.Generator) -> None:
    chance, scores, ones = rng.beta(1, 2, 400), rng.normal(size=400), np.ones(400)
    scores += np.log(chance)
    draws = (rng.random((400, 400)) < chance) * 1.0
    for metric in (auc, pr_auc):
        drawn = [metric(labels, scores, ones) for labels in draws]
        error = 4 * np.std(drawn) / np.sqrt(len(drawn))
        assert metric(chance, scores, ones) == pytest.approx(np.mean(drawn), abs=error)


def test_areas_of_masses_are_those_of_a_positive_and_a_negative_row(
    rng: np.random.Generator,
) -> None:
    chance, scores, weights = rng.random(50), rng.integers(0, 20, 50) * 1.0, rng.random(50)
    two = np.repeat([1.0, 0.0], 50), np.tile(scores, 2)
    shares = np.concatenate([weights * chance, weights * (1 - chance)])
    masses = [np.bincount(scores.astype(int), part, 20) for part in np.split(shares, 2)]
    for ours, theirs in (
        (auc_of_masses, reference.roc_auc_score),
        (pr_auc_of_masses, reference.average_precision_score),
    ):
        expected = theirs(*two, sample_weight=shares)
        assert ours(*masses) == pytest.approx(expected, rel=1e-9)
        assert np.isnan(ours(masses[0], 0 * masses[1]))
        assert np.isnan(ours(0 * masses[0], masses[1]))


def test_the_expected_calibration_gap_is_that_of_mean_labels() -> None:
    chance, p = np.array([0.2, 0.4, 0.6, 0.8]), np.array([0.1, 0.4, 0.5, 0.9])
    gaps = abs(0.1 - 0.2 + 0.4 - 0.4), abs(0.5 - 0.6 + 0.9 - 0.8)
    assert calibration_error(chance, p, np.ones(4), bins=2) == pytest.approx(sum(gaps) / 4)


@pytest.mark.parametrize("soft", [False, True])
def test_one_preparation_serves_all_weights(soft: bool, rng: np.random.Generator) -> None:
    labels, p, weights = example()
    labels = p[::-1] if soft else labels
    area = prepare_auc(labels, p)
    error = prepare_calibration_error(labels, p, weights, bins=10)
    assert error(weights) == calibration_error(labels, p, weights, bins=10)
    for _ in range(3):
        drawn = rng.integers(0, 3, len(p)) * weights
        some = drawn > 0
        assert area(drawn) == pytest.approx(auc(labels[some], p[some], drawn[some]), abs=1e-12)
        assert 0 < error(drawn) < 1
    for weigh in (area, error):
        assert np.isnan(weigh(np.zeros(len(p))))


def test_a_bin_without_rows_has_no_gap() -> None:
    labels, p = np.array([0.0, 1.0]), np.array([0.2, 0.9])
    error = prepare_calibration_error(labels, p, np.ones(2), bins=2)
    assert error(np.array([1.0, 0.0])) == pytest.approx(0.2)


def test_integer_weights_give_exact_areas() -> None:
    """Pairs are counted, so that equally good orders are equal to the last bit."""
    labels = np.array([1.0, 0, 1, 0, 0, 1, 1])
    areas = {
        auc(labels, np.array(scores, float), np.ones(7))
        for scores in itertools.permutations(range(7))
    }
    assert sorted(areas) == [won / 12 for won in range(13)]
