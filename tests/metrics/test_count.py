from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import d2_tweedie_score
from sklearn.metrics import mean_poisson_deviance as reference

from recsys_mtl.metrics.count import mean_poisson_deviance, poisson_d2, prepare_poisson_d2
from recsys_mtl.metrics.undefined import Undefined

Rng = np.random.Generator
ROWS = st.lists(
    st.tuples(st.integers(0, 6), st.floats(0.01, 20), st.integers(1, 4)), min_size=1, max_size=30
)


def example(rng: Rng, rows: int = 500) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rates = rng.gamma(0.7, 2.0, rows) + 0.01
    return rng.poisson(rates).astype(float), rates * rng.uniform(0.5, 2, rows), rng.random(rows) + 1


def test_by_hand() -> None:
    labels, predictions = np.array([0.0, 2.0]), np.array([1.0, 1.0])
    ones = np.ones(2)
    # 2 (0 - 0 + 1) and 2 (2 log 2 - 2 + 1); the mean label is 1 too.
    expected = (1 + 2 * np.log(2) - 1) * 2 / 2
    assert mean_poisson_deviance(labels, predictions, ones) == pytest.approx(expected)
    assert poisson_d2(labels, predictions, ones) == pytest.approx(0.0)
    assert poisson_d2(labels, labels, ones) == pytest.approx(1.0, abs=1e-6)


def test_equals_sklearn_with_weights(rng: Rng) -> None:
    labels, predictions, weights = example(rng)
    assert mean_poisson_deviance(labels, predictions, weights) == pytest.approx(
        reference(labels, predictions, sample_weight=weights), rel=1e-12
    )
    assert poisson_d2(labels, predictions, weights) == pytest.approx(
        d2_tweedie_score(labels, predictions, sample_weight=weights, power=1), rel=1e-9
    )


@given(ROWS)
def test_a_weight_is_a_number_of_copies(rows: list[tuple[int, float, int]]) -> None:
    labels, predictions, weights = np.array(rows, float).T
    copies = np.repeat(np.arange(len(rows)), weights.astype(int))
    weighted = poisson_d2(labels, predictions, weights)
    copied = poisson_d2(labels[copies], predictions[copies], np.ones(len(copies)))
    if labels.min() == labels.max():
        assert weighted == copied == Undefined("all labels are equal")
    else:
        assert weighted == pytest.approx(copied, rel=1e-9, abs=1e-9)


def test_the_prepared_form_forgets_rows_without_weight(rng: Rng) -> None:
    labels, predictions, weights = example(rng)
    weigh, some = prepare_poisson_d2(labels, predictions), rng.random(len(labels)) < 0.5
    expected = poisson_d2(labels[some], predictions[some], weights[some])
    assert weigh(weights * some) == pytest.approx(expected, rel=1e-12)
    assert np.isnan(weigh(np.zeros(len(labels))))
    assert np.isnan(weigh((np.arange(len(labels)) == 3) * 1.0))


@pytest.mark.parametrize("label", [0.0, 3.0, 1e6 + 0.1])
def test_equal_labels(label: float) -> None:
    labels, weights = np.full(7, label), np.linspace(0.1, 2, 7)
    assert poisson_d2(labels, np.ones(7), weights) == Undefined("all labels are equal")


def test_a_prediction_of_0_is_finite() -> None:
    labels = np.array([1.0, 0.0])
    actual = mean_poisson_deviance(labels, np.zeros(2, np.float32), np.ones(2))
    assert actual == pytest.approx(-np.log(1e-7) - 1, rel=1e-6)


def test_true_rates_as_labels_give_the_score_of_many_draws(rng: Rng) -> None:
    """The draws' own deviance is the same for all predictions: gains are those of the truth."""
    rates = rng.gamma(2.0, 1.0, 300)
    pair, ones = (rates * rng.uniform(0.5, 2, 300), np.full(300, 2.0)), np.ones(300)
    truth = np.subtract(*(mean_poisson_deviance(rates, p, ones) for p in pair))
    draws = [
        np.subtract(*(mean_poisson_deviance(y, p, ones) for p in pair))
        for y in rng.poisson(rates, (400, 300)).astype(float)
    ]
    assert truth == pytest.approx(np.mean(draws), abs=4 * np.std(draws) / 20)
