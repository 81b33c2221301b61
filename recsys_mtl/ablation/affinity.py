"""Measured affinity compared with the planned relation, where that is known.

Affinities of more than one column (classes, items) have no sign, so where a pair has one of those
the planned relation counts by its size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_mtl.metrics.regression import rank_correlation
from recsys_mtl.metrics.undefined import as_float
from recsys_mtl.tasks import kind_of

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """How one measured matrix agrees with the plan.

    Attributes:
        spearman: rank correlation over pairs; NaN where the plan has one value only.
        first: share of the tasks with a clear best relative that rank it first; NaN without any.
        precision: of the pairs measured in conflict, the share planned so; NaN without any.
        recall: of the pairs planned in conflict, the share measured so; NaN without any.
    """

    spearman: float
    first: float
    precision: float
    recall: float


def planned_matrix(unit: Mapping[str, Any], *, unsigned: bool) -> Floats:
    """(T, T) planned relation in the order of the unit's tasks.

    Args:
        unit: a unit's result.
        unsigned: whether the measure has no sign for classes and items.
    """
    kinds: Mapping[str, str] = unit["kinds"]
    relation = unit["relation"]
    planned = np.array([[relation[a][b] for b in kinds] for a in kinds], float)
    if unsigned:
        many = np.array([not kind_of(kind).signed for kind in kinds.values()])
        planned = np.where(many[:, None] | many, np.abs(planned), planned)
    return planned


def measured_matrices(unit: Mapping[str, Any]) -> list[Floats]:
    """(T, T) affinity after every epoch, the mean over experts; none where nothing was measured."""
    epochs = [epoch for epoch in unit["transfer"] if epoch["observations"] > 0]
    return [np.asarray(epoch["affinity"], float).mean(axis=0) for epoch in epochs]


def agreement(measured: Floats, planned: Floats, *, threshold: float) -> Agreement:
    """Compare two (T, T); `threshold` is the affinity below which a pair is in conflict."""
    upper = np.triu_indices(len(planned), 1)
    a, b = measured[upper], planned[upper]
    measured_conflict, true = a < threshold, b < threshold
    both = int((measured_conflict & true).sum())
    return Agreement(
        spearman=as_float(rank_correlation(b, a, np.ones(len(a)))),
        first=_first(measured, planned),
        precision=both / int(measured_conflict.sum()) if measured_conflict.any() else float("nan"),
        recall=both / int(true.sum()) if true.any() else float("nan"),
    )


def _first(measured: Floats, planned: Floats) -> float:
    """Over tasks whose largest planned relation is unique and positive."""
    hits = []
    for task in range(len(planned)):
        others = np.delete(np.arange(len(planned)), task)
        plan = planned[task, others]
        best = plan.max()
        if best > 0 and (plan == best).sum() == 1:
            hits.append(measured[task, others].argmax() == plan.argmax())
    return float(np.mean(hits)) if hits else float("nan")


def mean_agreement(measures: Sequence[Agreement]) -> Agreement:
    """Mean of each number over seeds, NaN left out."""

    def mean(name: str) -> float:
        values = np.array([getattr(one, name) for one in measures], float)
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    return Agreement(*(mean(name) for name in ("spearman", "first", "precision", "recall")))
