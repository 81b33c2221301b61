from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from recsys_mtl.metrics.gini import normalized_gini, prepare_normalized_gini
from recsys_mtl.metrics.undefined import Undefined

Rng = np.random.Generator
ROWS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 3)), min_size=2, max_size=12
)


def area(labels: np.ndarray, scores: np.ndarray) -> float:
    """Twice the area between diagonal and Lorenz curve, a straight line through rows that tie."""
    x, y, twice = 0.0, 0.0, 0.0
    for score in sorted(set(scores)):
        tied = scores == score
        dx, dy = tied.mean(), labels[tied].sum() / labels.sum()
        twice += dx * (y + dy / 2) * 2
        x, y = x + dx, y + dy
    assert (x, y) == pytest.approx((1, 1))
    return 1 - twice


@given(ROWS)
def test_it_is_the_area_over_the_best_area(rows: list[tuple[int, int, int]]) -> None:
    labels, scores, weights = np.array(rows, float).T
    actual = normalized_gini(labels, scores, weights)
    if labels.min() == labels.max():
        assert actual == Undefined("all labels are equal")
        return
    copies = np.repeat(np.arange(len(rows)), weights.astype(int))
    labels, scores = labels[copies], scores[copies]
    assert actual == pytest.approx(area(labels, scores) / area(labels, labels), abs=1e-12)


def test_of_labels_0_and_1_it_is_auc(rng: Rng) -> None:
    labels, scores = rng.integers(0, 2, 300) * 1.0, rng.normal(size=300).round(1)
    weights = rng.random(300)
    auc = roc_auc_score(labels, scores, sample_weight=weights)
    assert normalized_gini(labels, scores, weights) == pytest.approx(2 * auc - 1, abs=1e-12)


def test_its_range(rng: Rng) -> None:
    labels, ones = rng.lognormal(size=200), np.ones(200)
    assert normalized_gini(labels, np.exp(labels), ones) == pytest.approx(1.0)
    assert normalized_gini(labels, -labels, ones) == pytest.approx(-1.0)
    assert normalized_gini(labels, ones, ones) == 0.0


def test_the_prepared_form_forgets_rows_without_weight(rng: Rng) -> None:
    labels, scores, weights = rng.lognormal(size=200), rng.normal(size=200), rng.random(200)
    weigh, some = prepare_normalized_gini(labels, scores), rng.random(200) < 0.5
    expected = normalized_gini(labels[some], scores[some], weights[some])
    assert weigh(weights * some) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(weigh(np.zeros(200)))
    assert np.isnan(weigh((np.arange(200) == 3) * 1.0))
