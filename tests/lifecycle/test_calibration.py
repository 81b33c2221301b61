from __future__ import annotations

import numpy as np
import pytest

from recsys_mtl.lifecycle.labelled import Labelled, calibration_of
from recsys_mtl.tasks.evaluate import evaluate_task

Rng = np.random.Generator


def labelled(kind: str, labels: np.ndarray, *predictions: np.ndarray, rows=None) -> Labelled:  # type: ignore[no-untyped-def]
    indices = np.arange(len(labels)) if rows is None else rows
    return Labelled(kind, indices, (labels, labels), predictions)  # type: ignore[arg-type]


@pytest.mark.parametrize("bins", [1, 3, 15])
def test_binary_is_the_metric_of_evaluation(bins: int, rng: Rng) -> None:
    labels = rng.integers(0, 2, 173) * 1.0
    pair = rng.random(173), np.round(rng.random(173), 1)
    weights = rng.choice([0.5, 1.0, 2.0], 173)
    error = calibration_of(labelled("binary", labels, *pair), weights, bins)
    assert error is not None
    expected = [
        evaluate_task("binary", labels, p, weights, calibration_bins=bins)["calibration_error"]
        for p in pair
    ]
    assert error(weights) == pytest.approx(expected, abs=1e-12)


def test_regression_is_the_error_of_the_mean() -> None:
    labels, high = np.array([-1.0, 3.0, 4.0]), np.array([2.0, 2.0, 4.0])
    error = calibration_of(labelled("regression", labels, labels[::-1], high), np.ones(3), 5)
    assert error is not None
    assert error(np.ones(3)) == pytest.approx([0.0, 2 / 8])
    assert error(np.array([1.0, 0.0, 0.0])) == pytest.approx([5.0, 3.0])
    assert np.isnan(error(np.zeros(3))).all()


def test_rows_are_indices_among_all(rng: Rng) -> None:
    labels, pair = rng.integers(0, 2, 40) * 1.0, (rng.random(40), rng.random(40))
    weights, rows = rng.random(90), np.sort(rng.choice(90, 40, replace=False))
    there = calibration_of(labelled("binary", labels, *pair, rows=rows), weights, 5)
    alone = calibration_of(labelled("binary", labels, *pair), weights[rows], 5)
    assert there is not None
    assert alone is not None
    assert there(weights) == pytest.approx(alone(weights[rows]))


@pytest.mark.parametrize("kind", ["multiclass", "retrieval"])
def test_other_kinds_have_none(kind: str) -> None:
    assert calibration_of(labelled(kind, np.ones(2), np.ones(2), np.ones(2)), np.ones(2), 5) is None
