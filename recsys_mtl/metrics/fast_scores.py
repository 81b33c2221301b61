"""One number a task, larger is better, as a function of the rows' weights.

binary      AUC
multiclass  McFadden's R²
regression  Spearman's rank correlation
retrieval   mean reciprocal rank

Shapes: R rows of the set, N labelled rows, M models, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recsys_mtl.columns.spec import TaskKind
from recsys_mtl.metrics.binary import prepare_auc
from recsys_mtl.metrics.multiclass import prepare_mcfadden_r2
from recsys_mtl.metrics.regression import prepare_rank_correlation
from recsys_mtl.metrics.retrieval import prepare_mrr
from recsys_mtl.metrics.weighing import Floats, Ints, Score, on_rows, together

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
    return on_rows(rows, _score(kind, labels, predictions))


def _score(kind: TaskKind, labels: Sequence[Floats], predictions: Sequence[Floats]) -> Score:
    pairs = zip(labels, predictions, strict=True)
    if kind == "binary":
        return together([prepare_auc(*pair) for pair in pairs])
    if kind == "multiclass":
        return together([prepare_mcfadden_r2(*pair) for pair in pairs])
    if kind == "regression":
        return prepare_rank_correlation(labels[0], predictions)
    return together([prepare_mrr(ranks) for ranks in predictions])
