"""All metrics of a task on a complete set of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_mtl.columns.keys import NO_GROUP
from recsys_mtl.memory import LARGEST_IN_MEMORY, spacious
from recsys_mtl.metrics import Metrics, Undefined
from recsys_mtl.metrics.lists import ListMetrics, list_metrics
from recsys_mtl.metrics.weighing import Array, Floats, Ints, Score
from recsys_mtl.tasks import kind_of

_PART = 4_096  # rows at a time where each has many values


def metric_names(
    kind: str, top_k: Sequence[int] = (1, 5, 10), *, lists: bool = False
) -> tuple[str, ...]:
    """The metrics of a kind of task, in the order of the tables; `lists`: those in lists too."""
    section = kind_of(kind).section
    names: tuple[str, ...] = section.metric_names(top_k)
    return (*names, *section.list_names(top_k)) if lists else names


def evaluate_task(
    kind: str,
    labels: Array,
    predictions: Array,
    weights: Array | None = None,
    *,
    calibration_bins: int = 15,
    top_k: Sequence[int] = (1, 5, 10),
    groups: Ints | None = None,
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
        groups: (B,) see `evaluate_lists`, whose metrics follow; None: they are left out.

    Returns:
        Finite numbers by `metric_names`; a metric without a value is `Undefined`, never NaN.
    """
    of_kind = kind_of(kind)
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
    if groups is not None:
        settings: dict[str, Any] = {"calibration_bins": calibration_bins, "top_k": top_k}
        metrics = evaluate_task(kind, labels, predictions, weights, **settings)
        lists = evaluate_lists(kind, labels, predictions, weights, groups, top_k=top_k)
        names = of_kind.section.list_names(top_k)
        nothing = Undefined("no labelled rows of a list")
        return metrics | (dict.fromkeys(names, nothing) if lists is None else lists.metrics())
    names = metric_names(kind, top_k)
    rows = ~np.isnan(labels) & (weights > 0)
    if not rows.any():
        return _all_undefined(names, "no labelled rows")
    predictions = of_kind.for_metrics(labels, predictions)
    if not rows.all():
        predictions = _selected(predictions, rows)
        labels, weights = labels[rows], weights[rows]
    if not of_kind.infinite and not _all_finite(predictions):
        return _all_undefined(names, "some predictions are not finite")
    return of_kind.metrics(labels, predictions, weights, bins=calibration_bins, top_k=top_k)


def evaluate_lists(
    kind: str,
    labels: Array,
    predictions: Array,
    weights: Array,
    groups: Ints,
    *,
    top_k: Sequence[int],
) -> ListMetrics | None:
    """Metrics of ranking within lists; `first` are indices among all rows given.

    Args:
        kind: of the task.
        labels: (B,), NaN where unlabelled.
        predictions: (B,) or (B, C).
        weights: (B,) row weights, not negative.
        groups: (B,) the list of each row; rows of `NO_GROUP` are in none.
        top_k: the K of metrics at K.

    Returns:
        None where the kind has none, no row counts, or predictions are not finite.
    """
    of_kind = kind_of(kind)
    names = of_kind.section.list_names(top_k)
    rows = np.flatnonzero(~np.isnan(labels) & (weights > 0) & (groups != NO_GROUP))
    if not names or not len(rows):
        return None
    scores = of_kind.ranked_by(predictions[rows])
    if not np.isfinite(scores).all():
        return None
    lists = list_metrics(labels[rows], scores, weights[rows], groups[rows], names)
    return replace(lists, first=rows[lists.first])


def score_in_lists(
    kind: str,
    metric: str,
    labels: Sequence[Floats],
    predictions: Sequence[Floats],
    *,
    rows: Ints,
    groups: Ints,
    weights: Floats,
) -> Score | None:
    """A metric within lists of several models, whose resamples draw complete lists.

    Args:
        kind: of the task.
        metric: its name.
        labels: (N,) of each model.
        predictions: (N,) or (N, C) of each model.
        rows: (N,) indices among all rows.
        groups: (N,) the list of each row; rows of `NO_GROUP` are in none.
        weights: (R,) of all rows.

    Returns:
        None where no row is in a list.
    """
    listed = groups != NO_GROUP
    rows, groups, of_kind = rows[listed], groups[listed], kind_of(kind)
    if not len(rows):
        return None
    models = [
        list_metrics(
            own[listed], of_kind.ranked_by(predicted[listed]), weights[rows], groups, (metric,)
        )
        for own, predicted in zip(labels, predictions, strict=True)
    ]
    one_each = rows[models[0].first]

    def score(drawn: Array) -> Floats:
        times = drawn[one_each] / weights[one_each]
        return np.array([model.mean(metric, times) for model in models])

    return score


def _selected(values: Array, rows: NDArray[np.bool_]) -> Array:
    """These rows, copied in parts where they are many values."""
    if values.nbytes <= LARGEST_IN_MEMORY:
        return values[rows]
    indices = np.flatnonzero(rows)
    selected: Array = spacious((len(indices), *values.shape[1:]), values.dtype)
    for start in range(0, len(indices), _PART):
        part = slice(start, start + _PART)
        selected[part] = values[indices[part]]
    return selected


def _all_finite(values: Array) -> bool:
    parts = (values[start : start + _PART] for start in range(0, len(values), _PART))
    return all(np.isfinite(part).all() for part in parts)


def _all_undefined(names: Sequence[str], reason: str) -> Metrics:
    return {name: Undefined(reason) for name in names}
