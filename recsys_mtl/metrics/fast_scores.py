"""One number a task, larger is better, as a function of the rows' weights.

binary      AUC
multiclass  1 - log loss / log loss of the class shares (McFadden 1974)
regression  Spearman's rank correlation
retrieval   mean reciprocal rank

A row of weight 2 is as two rows, in ranks too. All that does not depend on the weights (sorting)
is done once, so that a score is cheap to take anew for each resample.

Shapes: R rows of the set, N labelled rows, M models, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import xlogy

from recsys_mtl.columns.spec import TaskKind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Score = Callable[[Floats], Floats]
"""Weights (R,) -> the scores of the models (M,); NaN where these rows have none."""

NAMES: Mapping[TaskKind, str] = {
    "binary": "AUC",
    "multiclass": "McFadden R²",
    "regression": "rank correlation",
    "retrieval": "MRR",
}
_CLIP = 1e-7


def make_score(
    kind: TaskKind, rows: Ints, labels: Sequence[Floats], predictions: Sequence[Floats]
) -> Score:
    """The score of a task for several models, on the same rows.

    Args:
        kind: kind of label.
        rows: (N,) places of the labelled rows among all.
        labels: per model (N,): only class indices may differ from model to model.
        predictions: per model (N,) probabilities, values or ranks, or (N, K) probabilities.
    """
    if kind == "binary":
        return _together([_auc(rows, labels[0], predicted) for predicted in predictions])
    if kind == "multiclass":
        pairs = zip(labels, predictions, strict=True)
        return _together([_explained(rows, own, predicted) for own, predicted in pairs])
    if kind == "regression":
        return _rank_correlation(rows, labels[0], predictions)
    return _reciprocal_rank(rows, predictions)


def _together(scores: Sequence[Callable[[Floats], float]]) -> Score:
    return lambda weights: np.array([score(weights) for score in scores])


def _auc(rows: Ints, labels: Floats, predicted: Floats) -> Callable[[Floats], float]:
    """Share of (positive, negative) pairs in the right order, ties half."""
    order = np.argsort(predicted, kind="stable")
    values, is_positive = predicted[order], labels[order] == 1
    positive, negative = rows[order[is_positive]], rows[order[~is_positive]]
    below = np.searchsorted(values[~is_positive], values[is_positive], side="left")
    not_above = np.searchsorted(values[~is_positive], values[is_positive], side="right")
    tied = bool((below != not_above).any())
    mass = np.zeros(len(negative) + 1)

    def score(weights: Floats) -> float:
        _running_sum(weights[negative], mass[1:])
        of_positive = weights[positive]
        pairs = of_positive.sum() * mass[-1]
        if pairs <= 0:
            return float("nan")
        right = of_positive @ mass[below]
        if tied:
            right = (right + of_positive @ mass[not_above]) / 2
        return float(right / pairs)

    return score


def _explained(rows: Ints, labels: Floats, predicted: Floats) -> Callable[[Floats], float]:
    """Share of the log loss of the class shares that the model saves."""
    classes, count = labels.astype(np.int64), predicted.shape[1]
    of_label = np.maximum(predicted[np.arange(len(classes)), classes], _CLIP)
    losses = -np.log(of_label)

    def score(weights: Floats) -> float:
        own = weights[rows]
        total = own.sum()
        if total <= 0:
            return float("nan")
        shares = np.bincount(classes, own, count) / total
        constant = -float(xlogy(shares, shares).sum())
        return 1 - float(own @ losses) / total / constant if constant > 1e-12 else float("nan")

    return score


def _rank_correlation(rows: Ints, labels: Floats, predictions: Sequence[Floats]) -> Score:
    """Pearson's correlation of mid-ranks; 0 for a model that predicts one value for all rows."""
    by_label = np.argsort(labels, kind="stable")
    rows, rank_labels = rows[by_label], _centred_ranks(labels[by_label])
    models = []
    for predicted in predictions:
        order = np.argsort(predicted[by_label], kind="stable")
        models.append((order, _centred_ranks(predicted[by_label][order])))

    own, there, truth, ranks, truth_there = (np.empty(len(rows)) for _ in range(5))

    def score(weights: Floats) -> Floats:
        weights.take(rows, out=own, mode="clip")
        rank_labels(own, truth)
        spread = float(own @ (truth * truth))
        if not spread > 0:
            return np.full(len(models), np.nan)
        found = []
        for order, rank in models:
            own.take(order, out=there, mode="clip")
            truth.take(order, out=truth_there, mode="clip")
            rank(there, ranks)
            np.multiply(there, ranks, out=there)
            scale = np.sqrt(spread * float(there @ ranks))
            found.append(float(there @ truth_there) / scale if scale > 0 else 0.0)
        return np.array(found)

    return score


def _centred_ranks(values: Floats) -> Callable[[Floats, Floats], None]:
    """Of sorted values (N,): weights in, and out (fresh memory is slow) twice their mid-ranks.

    The mean rank is 0.
    """
    below = np.searchsorted(values, values, side="left")
    not_above = np.searchsorted(values, values, side="right")
    tied = bool((not_above - below > 1).any())
    mass = np.zeros(len(values) + 1)

    def ranks(weights: Floats, into: Floats) -> None:
        _running_sum(weights, mass[1:])
        if tied:
            np.add(mass.take(below, mode="clip"), mass.take(not_above, mode="clip"), out=into)
        else:
            np.add(mass[1:], mass[:-1], out=into)
        into -= mass[-1]

    return ranks


def _running_sum(values: Floats, into: Floats) -> None:
    """By torch, which is four times as fast as numpy here."""
    torch.cumsum(torch.from_numpy(values), 0, out=torch.from_numpy(into))


def _reciprocal_rank(rows: Ints, predictions: Sequence[Floats]) -> Score:
    reciprocals = np.stack([1 / ranks for ranks in predictions])

    def score(weights: Floats) -> Floats:
        own = weights[rows]
        total = own.sum()
        if total <= 0:
            return np.full(len(predictions), np.nan)
        return np.asarray(reciprocals @ own / total)

    return score
