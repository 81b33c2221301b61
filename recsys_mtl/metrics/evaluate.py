"""All metrics of a task on a whole set of rows, and which way each of them is better."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from recsys_mtl.columns.spec import TaskKind
from recsys_mtl.errors import did_you_mean, wrong
from recsys_mtl.metrics.binary import binary_metrics
from recsys_mtl.metrics.multiclass import multiclass_metrics
from recsys_mtl.metrics.regression import regression_metrics
from recsys_mtl.metrics.retrieval import retrieval_metrics, true_item_ranks
from recsys_mtl.metrics.undefined import Metrics, Undefined
from recsys_mtl.metrics.weighing import Array

LARGER_IS_BETTER: dict[str, bool] = {
    "auc": True,
    "pr_auc": True,
    "log_loss": False,
    "normalized_entropy": False,
    "calibration_error": False,
    "accuracy": True,
    "macro_f1": True,
    "ndcg_at_3": True,
    "rmse": False,
    "mae": False,
    "r2": True,
    "rank_correlation": True,
    "recall_at_k": True,
    "mrr": True,
}
"""Every metric that has a better side; `calibration_ratio` has none, its best value is 1."""

_NAMES: dict[TaskKind, tuple[str, ...]] = {
    "binary": (
        "auc",
        "pr_auc",
        "log_loss",
        "normalized_entropy",
        "calibration_error",
        "calibration_ratio",
    ),
    "multiclass": ("accuracy", "macro_f1", "log_loss", "ndcg_at_3"),
    "regression": ("rmse", "mae", "r2", "rank_correlation"),
}


def metric_names(kind: TaskKind, top_k: Sequence[int] = (1, 5, 10)) -> tuple[str, ...]:
    """The metrics of a kind of task, in the order of the tables."""
    if kind == "retrieval":
        return (*(f"recall_at_{k}" for k in top_k), "mrr")
    return _NAMES[kind]


def larger_is_better(metric: str) -> bool:
    """Whether a larger value is better; knows `recall_at_5` too.

    Raises:
        UserError: there is no such metric, or it has no better side.
    """
    name = re.sub(r"^recall_at_\d+$", "recall_at_k", metric)
    if name not in LARGER_IS_BETTER:
        raise wrong(
            "not a metric that can be optimised",
            found=metric,
            fix=did_you_mean(metric, LARGER_IS_BETTER),
        )
    return LARGER_IS_BETTER[name]


def evaluate_task(
    kind: TaskKind,
    labels: Array,
    predictions: Array,
    weights: Array | None = None,
    *,
    calibration_bins: int = 15,
    top_k: Sequence[int] = (1, 5, 10),
) -> Metrics:
    """Every metric of a task, over all labelled rows of positive weight at once.

    Args:
        kind: kind of label.
        labels: (B,), NaN where unlabelled; an index for multiclass and retrieval, in the label's
            own unit for regression.
        predictions: (B,) probabilities, (B, K) probabilities of the classes, (B,) numbers; for
            retrieval (B,) ranks as `true_item_ranks` gives them, or (B, I) scores, which may be a
            broadcast view: they are not copied.
        weights: (B,) row weights, not negative; all 1 if None.
        calibration_bins: bins of the calibration error.
        top_k: the K of `recall_at_K`.

    Returns:
        Finite numbers by `metric_names`; a metric without a value is `Undefined`, never NaN.
    """
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
    names = metric_names(kind, top_k)
    rows = ~np.isnan(labels) & (weights > 0)
    if not rows.any():
        return _all_undefined(names, "no labelled rows")
    if kind == "retrieval" and predictions.ndim == 2:
        predictions = true_item_ranks(predictions, labels)
    if not rows.all():
        labels, predictions, weights = labels[rows], predictions[rows], weights[rows]
    if kind == "retrieval":
        return retrieval_metrics(predictions, weights, top_k=top_k)
    if not np.isfinite(predictions).all():
        return _all_undefined(names, "some predictions are not finite")
    if kind == "binary":
        return binary_metrics(labels, predictions, weights, bins=calibration_bins)
    if kind == "multiclass":
        return multiclass_metrics(labels, predictions, weights)
    return regression_metrics(labels, predictions, weights)


def _all_undefined(names: Sequence[str], reason: str) -> Metrics:
    return {name: Undefined(reason) for name in names}
