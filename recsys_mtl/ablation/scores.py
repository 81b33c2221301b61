"""One number a task, larger is better, to compare arms by: against the truth where it is known.

binary      AUC; against true probabilities, its expectation over labels drawn from them
multiclass  McFadden's R²
regression  Spearman's rank correlation with the label, or with its true mean
retrieval   mean reciprocal rank of the labels

With the truth every row counts, labelled or not, and the noise of labels is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_synth.targets import ChoiceTarget, Target
from recsys_mtl.metrics.binary import auc
from recsys_mtl.metrics.multiclass import mcfadden_r2
from recsys_mtl.metrics.regression import rank_correlation
from recsys_mtl.metrics.retrieval import mrr
from recsys_mtl.metrics.undefined import as_float
from recsys_mtl.training.evaluate import Scores

NAMES: Mapping[str, str] = {
    "binary": "AUC",
    "multiclass": "McFadden R²",
    "regression": "rank correlation",
    "retrieval": "MRR",
}


def score(kind: str, scores: Scores, task: str) -> float:
    """By the labels, over labelled rows; NaN where it is undefined."""
    labels = np.asarray(scores.labels[task], np.float64)
    known = ~np.isnan(labels)
    return _score(kind, labels[known], np.asarray(scores.predictions[task], np.float64)[known])


def true_score(target: Target, scores: Scores, task: str, linear: NDArray[Any]) -> float:
    """By the true linear predictors (R,) of the rows."""
    if target.kind == "retrieval":
        return score("retrieval", scores, task)
    truth = linear if target.kind == "regression" else target.predict(linear)
    predicted = np.asarray(scores.predictions[task], np.float64)
    return _score(target.kind, np.asarray(truth, np.float64), predicted)


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
        oracle = target.ranks(np.asarray(linear)[~np.isnan(items)], known)
        ones = np.ones(len(known))
        return mrr(target.constant_ranks(known), ones), mrr(oracle, ones)
    if target.kind == "regression":
        return 0.0, 1.0
    chances = np.asarray(target.predict(linear))
    constant = 0.5 if target.kind == "binary" else 0.0
    return constant, _score(target.kind, chances, chances)


def _score(kind: str, labels: NDArray[Any], predicted: NDArray[Any]) -> float:
    if not len(labels) or np.isnan(predicted).any():
        return float("nan")
    ones = np.ones(len(labels))
    if kind == "retrieval":
        return mrr(predicted, ones)
    measure = {"binary": auc, "multiclass": mcfadden_r2, "regression": rank_correlation}[kind]
    return as_float(measure(labels, predicted, ones))
