from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from recsys_mtl.metrics import Undefined
from recsys_mtl.metrics.regression import (
    prepare_error_of_mean,
    prepare_rank_correlation,
    rank_correlation,
)
from recsys_mtl.tasks.evaluate import evaluate_task


def example(rows: int = 1000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = np.round(random.exponential(20, rows))  # rounded: ties
    predictions = np.round(labels + random.normal(0, 20, rows))
    return labels, predictions, random.integers(1, 4, rows).astype(float)


def test_by_hand() -> None:
    metrics = evaluate_task("regression", np.array([1.0, 2, 3]), np.array([2.0, 2, 5]))
    assert metrics["rmse"] == pytest.approx(math.sqrt(5 / 3))
    assert metrics["mae"] == pytest.approx(1.0)
    assert metrics["r2"] == pytest.approx(1 - 5 / 2)
    # Ranks 1, 2, 3 against 1.5, 1.5, 3.
    assert metrics["rank_correlation"] == pytest.approx(1.5 / math.sqrt(2 * 1.5))


def test_equals_sklearn_and_scipy() -> None:
    labels, predictions, weights = example()
    metrics = evaluate_task("regression", labels, predictions, weights)
    squared = reference.mean_squared_error(labels, predictions, sample_weight=weights)
    expected = {
        "rmse": math.sqrt(squared),
        "mae": reference.mean_absolute_error(labels, predictions, sample_weight=weights),
        "r2": reference.r2_score(labels, predictions, sample_weight=weights),
    }
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, rel=1e-9), name
    unweighted = evaluate_task("regression", labels, predictions)["rank_correlation"]
    assert unweighted == pytest.approx(spearmanr(labels, predictions).statistic, rel=1e-9)


def test_a_weight_is_a_number_of_copies() -> None:
    labels, predictions, weights = example()
    copies = np.repeat(np.arange(len(labels)), weights.astype(int))
    weighted = evaluate_task("regression", labels, predictions, weights)
    copied = evaluate_task("regression", labels[copies], predictions[copies])
    assert weighted == pytest.approx(copied)


def test_constant_labels_and_constant_predictions() -> None:
    rising, equal = np.array([1.0, 2.0, 3.0]), np.full(3, 0.1)
    metrics = evaluate_task("regression", equal, rising)
    assert metrics["r2"] == Undefined("all labels are equal")
    assert metrics["rank_correlation"] == Undefined("all labels are equal")
    metrics = evaluate_task("regression", rising, equal)
    assert metrics["rank_correlation"] == Undefined("all predictions are equal")
    assert isinstance(metrics["r2"], float)


def test_float32_sums_do_not_drift() -> None:
    labels = np.tile(np.array([16_777_216.0, 16_777_218.0], np.float32), 1000)
    metrics = evaluate_task("regression", labels, np.full(2000, 16_777_217.0))
    assert metrics["rmse"] == pytest.approx(1.0)
    assert metrics["r2"] == pytest.approx(0.0, abs=1e-9)


ROWS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 3)), min_size=2, max_size=12
)


@given(ROWS)
def test_rank_correlation_is_pearson_s_of_ranks_counted_one_by_one(
    rows: list[tuple[int, int, int]],
) -> None:
    labels, predictions, weights = np.array(rows, float).T
    actual = rank_correlation(labels, predictions, weights)
    if labels.min() == labels.max():
        assert actual == Undefined("all labels are equal")
    elif predictions.min() == predictions.max():
        assert actual == Undefined("all predictions are equal")
    else:
        ranks = [
            [sum(weights * ((v < own) + 0.5 * (v == own))) for own in v]
            for v in (labels, predictions)
        ]
        table = np.cov(*ranks, aweights=weights)
        expected = table[0, 1] / math.sqrt(table[0, 0] * table[1, 1])
        assert actual == pytest.approx(expected, abs=1e-12)


def test_one_preparation_serves_all_weights_and_models(rng: np.random.Generator) -> None:
    labels, predictions, weights = example()
    models = [predictions, labels + predictions, np.zeros(len(labels))]
    weigh, some = prepare_rank_correlation(labels, models), rng.random(len(labels)) < 0.5
    expected = [rank_correlation(labels[some], p[some], weights[some]) for p in models[:2]]
    assert weigh(weights * some) == pytest.approx([*expected, 0.0], abs=1e-12)
    assert np.isnan(weigh(np.zeros(len(labels)))).all()
    assert np.isnan(prepare_rank_correlation(np.ones(3), [np.arange(3.0)])(np.ones(3))).all()


def test_error_of_mean() -> None:
    labels, predictions = np.array([-1.0, 3.0, 4.0]), np.array([2.0, 2.0, 4.0])
    weigh = prepare_error_of_mean(labels, predictions)
    assert weigh(np.ones(3)) == pytest.approx(2 / 8)
    assert weigh(np.array([1.0, 3.0, 0.0])) == pytest.approx(0.0)
    assert np.isnan(weigh(np.zeros(3)))
