"""All metrics of a task on a complete set of rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsys_mtl.metrics import Metrics, Undefined
from recsys_mtl.metrics.weighing import Array
from recsys_mtl.tasks import kind_of


def metric_names(kind: str, top_k: Sequence[int] = (1, 5, 10)) -> tuple[str, ...]:
    """The metrics of a kind of task, in the order of the tables."""
    names: tuple[str, ...] = kind_of(kind).section.metric_names(top_k)
    return names


def evaluate_task(
    kind: str,
    labels: Array,
    predictions: Array,
    weights: Array | None = None,
    *,
    calibration_bins: int = 15,
    top_k: Sequence[int] = (1, 5, 10),
) -> Metrics:
    """Every metric of a task, over all labelled rows of positive weight at once.

    Args:
        kind: of the task.
        labels: (B,), NaN where unlabelled; in the label's own unit, or an index of class or item.
        predictions: (B,) or (B, C) as `Kind.predict` and `Label.to_unit` give them; of items also
            (B, I) scores, which may be a broadcast view: they are not copied.
        weights: (B,) row weights, not negative; all 1 if None.
        calibration_bins: bins of the calibration error.
        top_k: the K of metrics at K.

    Returns:
        Finite numbers by `metric_names`; a metric without a value is `Undefined`, never NaN.
    """
    of_kind = kind_of(kind)
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
    names = metric_names(kind, top_k)
    rows = ~np.isnan(labels) & (weights > 0)
    if not rows.any():
        return _all_undefined(names, "no labelled rows")
    predictions = of_kind.for_metrics(labels, predictions)
    if not rows.all():
        labels, predictions, weights = labels[rows], predictions[rows], weights[rows]
    if not of_kind.infinite and not np.isfinite(predictions).all():
        return _all_undefined(names, "some predictions are not finite")
    return of_kind.metrics(labels, predictions, weights, bins=calibration_bins, top_k=top_k)


def _all_undefined(names: Sequence[str], reason: str) -> Metrics:
    return {name: Undefined(reason) for name in names}
