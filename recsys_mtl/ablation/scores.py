"""One number a task, larger is better, to compare arms by: against the truth where it is known.

binary      AUC; against true probabilities, its expectation over labels drawn from them
multiclass  1 - log loss / log loss of the class shares (McFadden 1974)
regression  Spearman's rank correlation with the label, or with its true mean
retrieval   mean reciprocal rank of the labels

With the truth every row counts, labelled or not, and the noise of labels is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy
from scipy.stats import rankdata

from data_synth.targets import ChoiceTarget, Target
from recsys_mtl.columns.spec import TaskKind
from recsys_mtl.training.evaluate import Scores

Floats = NDArray[np.float64]
_TINY = 1e-7  # a float32 softmax may say 0

NAMES: Mapping[str, str] = {
    "binary": "AUC",
    "multiclass": "McFadden R²",
    "regression": "rank correlation",
    "retrieval": "MRR",
}


def score(kind: TaskKind, scores: Scores, task: str) -> float:
    """By the labels, over labelled rows; NaN where it is undefined."""
    labels = np.asarray(scores.labels[task], np.float64)
    seen = ~np.isnan(labels)
    labels, predicted = labels[seen], np.asarray(scores.predictions[task], np.float64)[seen]
    if kind == "retrieval":
        return float(np.mean(1 / predicted)) if len(labels) else float("nan")
    if kind == "multiclass":
        classes = predicted.shape[1]
        return explained(predicted, np.eye(classes)[labels.astype(np.int64)])
    if kind == "binary":
        return expected_auc(predicted, labels)
    return rank_correlation(predicted, labels)


def true_score(target: Target, scores: Scores, task: str, linear: NDArray[Any]) -> float:
    """By the true linear predictors (R,) of the rows."""
    predicted = np.asarray(scores.predictions[task], np.float64)
    if target.kind == "retrieval":
        return score("retrieval", scores, task)
    if target.kind == "binary":
        return expected_auc(predicted, np.asarray(target.predict(linear)))
    if target.kind == "multiclass":
        return explained(predicted, np.asarray(target.predict(linear)))
    return rank_correlation(predicted, np.asarray(linear, np.float64))


def reach(
    target: Target, linear: NDArray[Any], items: NDArray[Any] | None = None
) -> tuple[float, float]:
    """What a constant and an oracle score on rows of true linear predictors (R,).

    Args:
        target: the task's label.
        linear: (R,).
        items: (R,) labels of a retrieval task, NaN where unlabelled.
    """
    if isinstance(target, ChoiceTarget) and target.kind == "retrieval":
        assert items is not None
        known = items[~np.isnan(items)].astype(np.int64)
        if not len(known):
            return float("nan"), float("nan")
        oracle = 1 / target.ranks(np.asarray(linear)[~np.isnan(items)], known)
        return float(np.mean(1 / target.constant_ranks(known))), float(np.mean(oracle))
    if target.kind == "regression":
        return 0.0, 1.0
    chances = np.asarray(target.predict(linear))
    if target.kind == "binary":
        return 0.5, expected_auc(chances, chances)
    return 0.0, explained(chances, chances)


def expected_auc(predicted: Floats, chance: Floats) -> float:
    """AUC of predictions (R,), expected over labels drawn with chances (R,); labels 0, 1 are ones.

    Σ_{i≠j} p_i (1 - p_j) [s_i > s_j] / Σ_{i≠j} p_i (1 - p_j), ties half.
    """
    order = np.argsort(predicted, kind="stable")
    values, positive = predicted[order], chance[order]
    negative = 1 - positive
    first = np.concatenate([[True], values[1:] != values[:-1]])
    group = np.cumsum(first) - 1
    tied = np.bincount(group, negative)
    below = np.cumsum(tied) - tied
    itself = float(positive @ negative)
    found = float(positive @ (below + tied / 2)[group]) - itself / 2
    pairs = positive.sum() * negative.sum() - itself
    return found / pairs if pairs > 0 else float("nan")


def explained(predicted: Floats, chances: Floats) -> float:
    """Share of the log loss of the class shares that predictions (R, C) save, given chances."""
    if not len(chances):
        return float("nan")
    shares = chances.mean(axis=0)
    constant = -float(xlogy(shares, shares).sum())
    loss = -float((chances * np.log(np.maximum(predicted, _TINY))).sum(axis=1).mean())
    return 1 - loss / constant if constant > 0 else float("nan")


def rank_correlation(predicted: Floats, truth: Floats) -> float:
    """Spearman's, of two (R,)."""
    a, b = rankdata(predicted), rankdata(truth)
    if len(a) < 2 or a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])
