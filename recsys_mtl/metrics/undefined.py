"""Metrics that have no value, and the JSON form of those that have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating]


@dataclass(frozen=True)
class Undefined:
    """A metric that has no value on these rows, and why."""

    reason: str

    def __str__(self) -> str:
        return f"undefined ({self.reason})"


Metric: TypeAlias = float | Undefined
Metrics: TypeAlias = dict[str, Metric]


def to_json(metrics: Mapping[str, Metric]) -> dict[str, dict[str, float | str | None]]:
    """`{"auc": {"value": 0.7}}`, or `{"auc": {"value": null, "reason": "..."}}` if undefined."""
    return {
        name: {"value": None, "reason": metric.reason}
        if isinstance(metric, Undefined)
        else {"value": metric}
        for name, metric in metrics.items()
    }


def mean(values: Array, weights: Array) -> float:
    """The weighted mean, in float64."""
    return float(np.average(values, weights=weights))
