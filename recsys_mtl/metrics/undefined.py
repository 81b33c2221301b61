"""Metrics without a value, and the JSON form of metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Undefined:
    """A metric without a value on these rows, and the reason."""

    reason: str

    def __str__(self) -> str:
        return f"undefined ({self.reason})"


Metric: TypeAlias = float | Undefined
Metrics: TypeAlias = dict[str, Metric]


def defined(value: float, reason: str) -> Metric:
    """The value, or `Undefined` with the reason if it is NaN."""
    return Undefined(reason) if math.isnan(value) else value


def as_float(metric: Metric) -> float:
    """The value, or NaN if undefined."""
    return float("nan") if isinstance(metric, Undefined) else metric


def to_json(metrics: Mapping[str, Metric]) -> dict[str, dict[str, float | str | None]]:
    """`{"auc": {"value": 0.7}}`, or `{"auc": {"value": null, "reason": "..."}}` if undefined."""
    return {
        name: {"value": None, "reason": metric.reason}
        if isinstance(metric, Undefined)
        else {"value": metric}
        for name, metric in metrics.items()
    }


def to_values(metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """JSON values that `from_values` makes the same metrics of."""
    return {n: asdict(m) if isinstance(m, Undefined) else m for n, m in metrics.items()}


def from_values(values: Mapping[str, Any]) -> Metrics:
    """Metrics of the values of `to_values`, or of `dataclasses.asdict`."""
    return {n: Undefined(**m) if isinstance(m, Mapping) else m for n, m in values.items()}
