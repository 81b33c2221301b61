"""One number a task, larger is better, as a function of the rows' weights.

binary      AUC
multiclass  McFadden's R²
regression  Spearman's rank correlation
retrieval   mean reciprocal rank

Shapes: R rows of the set, N labelled rows, M models, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from recsys_mtl.columns.spec import TaskKind
from recsys_mtl.metrics.binary import prepare_auc
from recsys_mtl.metrics.multiclass import prepare_mcfadden_r2
from recsys_mtl.metrics.regression import prepare_rank_correlation
from recsys_mtl.metrics.retrieval import prepare_mrr
from recsys_mtl.metrics.weighing import Floats, Ints, Weighing

Score: TypeAlias = Callable[[Floats], Floats]
"""Weights (R,) -> the scores of the models (M,); NaN where these rows have none."""

NAMES: Mapping[TaskKind, str] = {
    "binary": "AUC",
    "multiclass": "McFadden R²",
    "regression": "rank correlation",
    "retrieval": "MRR",
}


def make_score(
    kind: TaskKind, rows: Ints, labels: Sequence[Floats], predictions: Sequence[Floats]
) -> Score:
    """The score of a task for several models, on the same rows.

    Args:
        kind: kind of label.
        rows: (N,) indices of the labelled rows among all, rising.
        labels: per model (N,): only class indices may differ from model to model.
        predictions: per model (N,) probabilities, values or ranks, or (N, K) probabilities.
    """
    if kind == "binary":
        return score_of(rows, [prepare_auc(labels[0], predicted) for predicted in predictions])
    if kind == "multiclass":
        pairs = zip(labels, predictions, strict=True)
        return score_of(rows, [prepare_mcfadden_r2(own, predicted) for own, predicted in pairs])
    if kind == "regression":
        correlations = prepare_rank_correlation(labels[0], predictions)
        return lambda weights: correlations(_of_rows(weights, rows))
    return score_of(rows, [prepare_mrr(ranks) for ranks in predictions])


def score_of(rows: Ints, models: Sequence[Weighing]) -> Score:
    """One metric of several models, on rising rows (N,) of all, by the weights of all (R,)."""

    def score(weights: Floats) -> Floats:
        own = _of_rows(weights, rows)
        return np.array([weigh(own) for weigh in models])

    return score


def _of_rows(weights: Floats, rows: Ints) -> Floats:
    return weights if len(rows) == len(weights) else weights.take(rows)
