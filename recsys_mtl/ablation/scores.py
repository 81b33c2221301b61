"""The main metric of a task, to compare arms by: against the truth where it is known.

Against the truth labels are true probabilities, or true means: the metric is then its expectation
over labels drawn from them. Every row counts, labelled or not, and the noise of labels is gone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_synth.targets import Target
from recsys_mtl.metrics.undefined import as_float
from recsys_mtl.tasks import kind_of
from recsys_mtl.training.evaluate import Scores


def score(kind: str, scores: Scores, task: str) -> float:
    """By the labels, over labelled rows; NaN where it is undefined."""
    labels = np.asarray(scores.labels[task], np.float64)
    known = ~np.isnan(labels)
    predicted = np.asarray(scores.predictions[task], np.float64)
    return _score(kind, labels[known], predicted[known], scores.weights[known])


def true_score(target: Target, scores: Scores, task: str, linear: NDArray[Any]) -> float:
    """By the true linear predictors (R,) of the rows; of items by the labels.

    NaN where the training rows lack a class.
    """
    truth = target.truth(linear)
    predicted = np.asarray(scores.predictions[task], np.float64)
    if truth is None:
        return score(target.kind, scores, task)
    if np.shape(truth) != predicted.shape:
        return float("nan")
    return _score(target.kind, np.asarray(truth, np.float64), predicted, scores.weights)


def reach(
    target: Target, linear: NDArray[Any], items: NDArray[Any] | None = None
) -> tuple[float, float]:
    """What a constant and an oracle score on rows of true linear predictors (R,).

    Args:
        target: the task's label.
        linear: (R,).
        items: (R,) labels of a task with items, NaN where unlabelled.
    """
    truth = target.truth(linear)
    if truth is not None:
        truth = np.asarray(truth, np.float64)
        constant: float = kind_of(target.kind).section.main_metric().constant
        return constant, _score(target.kind, truth, truth)
    assert items is not None
    known = ~np.isnan(items)
    labels, linear = items[known], np.asarray(linear)[known]
    low, high = target.guess(labels), target.oracle(linear, labels)
    return _score(target.kind, labels, low), _score(target.kind, labels, high)


def _score(
    kind: str, labels: NDArray[Any], predicted: NDArray[Any], weights: NDArray[Any] | None = None
) -> float:
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
    counted = weights > 0
    labels, predicted, weights = labels[counted], predicted[counted], weights[counted]
    if not len(labels) or np.isnan(predicted).any():
        return float("nan")
    return as_float(kind_of(kind).measure(labels, predicted, weights))
