"""Metrics that have no value, and the JSON form of those that have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Undefined:
    """A metric that has no value on these rows, and why."""

    reason: str

    def __str__(self) -> str:
        return f"undefined ({self.reason})"


Metric: TypeAlias = float | Undefined
Metrics: TypeAlias = dict[str, Metric]


def defined(value: float, reason: str) -> Metric:
    """The value, or why there is none where it is NaN."""
    return Undefined(reason) if math.isnan(value) else value


def as_float(metric: Metric) -> float:
    """The value, NaN where there is none."""
    return float("nan") if isinstance(metric, Undefined) else metric


def to_json(metrics: Mapping[str, Metric]) -> dict[str, dict[str, float | str | None]]:
    """`{"auc": {"value": 0.7}}`, or `{"auc": {"value": null, "reason": "..."}}` if undefined."""
    return {
        name: {"value": None, "reason": metric.reason}
        if isinstance(metric, Undefined)
        else {"value": metric}
        for name, metric in metrics.items()
    }
