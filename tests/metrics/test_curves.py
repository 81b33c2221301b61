"""Curves of a yes/no score, beside scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from recsys_mtl.metrics.curves import ranking


@pytest.mark.parametrize("decimals", [1, 6])
def test_as_scikit_learn(rng: np.random.Generator, decimals: int) -> None:
    labels = (rng.random(300) < 0.3).astype(float)
    scores = np.round(labels + rng.normal(size=300), decimals)
    weights = rng.integers(0, 3, 300).astype(float)
    ranked = ranking(labels, scores, weights)
    assert ranked is not None
    kept = weights > 0
    alarms, found, thresholds = roc_curve(
        labels[kept], scores[kept], sample_weight=weights[kept], drop_intermediate=False
    )
    own = np.isin(ranked.thresholds, thresholds)
    np.testing.assert_allclose(ranked.alarms[own], alarms, atol=1e-12)
    np.testing.assert_allclose(ranked.found[own], found, atol=1e-12)
    precision, recall, _ = precision_recall_curve(
        labels[kept], scores[kept], sample_weight=weights[kept]
    )
    np.testing.assert_allclose(ranked.precision[own][:0:-1], precision[:-1], atol=1e-12)
    np.testing.assert_allclose(ranked.found[own][:0:-1], recall[:-1], atol=1e-12)


def test_a_budget_never_splits_equal_scores() -> None:
    ranked = ranking(np.array([1.0, 0, 1, 0]), np.array([0.9, 0.5, 0.5, 0.1]), np.ones(4))
    assert ranked is not None
    assert [ranked.at(share) for share in (0.1, 0.25, 0.5, 0.75, 1.0)] == [0, 1, 1, 2, 3]
    assert ranked.found[2] == 1.0
    assert ranked.thresholds[2] == 0.5


def test_a_long_curve_is_thinned_with_both_ends(rng: np.random.Generator) -> None:
    labels = (rng.random(50_000) < 0.1).astype(float)
    ranked = ranking(labels, rng.random(50_000), np.ones(50_000))
    assert ranked is not None
    points = ranked.thinned()
    assert len(points) < 300
    assert (points[0], points[-1]) == (0, len(ranked.chosen) - 1)


@pytest.mark.parametrize("labels", [[0.0, 0.0], [1.0, 1.0], []])
def test_one_class_has_no_curve(labels: list[float]) -> None:
    assert ranking(np.array(labels), np.zeros(len(labels)), np.ones(len(labels))) is None
