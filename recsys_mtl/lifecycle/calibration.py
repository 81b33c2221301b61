"""The calibration error of a task as a function of the rows' weights, smaller being better.

binary      expected calibration error, as `recsys_mtl.metrics` has it
regression  error of the mean prediction, relative to the mean absolute label

The bins are those of the whole set, so that an error is cheap to take anew for each resample.

Shapes: R rows of the set, N labelled rows, M models.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from recsys_mtl.lifecycle.labelled import Labelled
from recsys_mtl.metrics.fast_scores import Floats, Ints, Score


def make_calibration(found: Labelled, weights: Floats, bins: int) -> Score | None:
    """The errors of both models; None for kinds of label that have none.

    Args:
        found: the task's labelled rows.
        weights: (R,) of the whole set.
        bins: most bins of a binary task.
    """
    labels = found.labels[1]
    if found.kind == "binary":
        own = weights[found.rows]
        places = [_bins(predicted, own, bins) for predicted in found.predictions]
        pairs = zip(found.predictions, places, strict=True)
        return _each(found.rows, [_expected(labels, *pair) for pair in pairs])
    if found.kind == "regression":
        return _each(found.rows, [_of_mean(labels, predicted) for predicted in found.predictions])
    return None


def _each(rows: Ints, errors: list[Callable[[Floats], float]]) -> Score:
    def score(weights: Floats) -> Floats:
        own = weights[rows]
        return np.array([error(own) for error in errors])

    return score


def _bins(predicted: Floats, weights: Floats, bins: int) -> Ints:
    """(N,) the bin of each row; bins hold equal weight, equal predictions share one."""
    order = np.argsort(predicted, kind="stable")
    mass = np.cumsum(weights[order])
    targets = mass[-1] * np.arange(1, bins) / bins * (1 - 1e-12)
    edges = np.unique(predicted[order][np.searchsorted(mass, targets)])
    return np.searchsorted(edges, predicted, side="left")


def _expected(labels: Floats, predicted: Floats, places: Ints) -> Callable[[Floats], float]:
    """Σ share · |mean label - mean probability|, over bins."""
    apart = predicted - labels

    def error(weights: Floats) -> float:
        total = float(weights.sum())
        sums = np.abs(np.bincount(places, weights * apart))
        return float(sums.sum()) / total if total > 0 else float("nan")

    return error


def _of_mean(labels: Floats, predicted: Floats) -> Callable[[Floats], float]:
    apart, sizes = predicted - labels, np.abs(labels)

    def error(weights: Floats) -> float:
        size = float(weights @ sizes)
        return abs(float(weights @ apart)) / size if size > 0 else float("nan")

    return error
