"""The properties of a metric."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_EACH_K = "_at_k"


@dataclass(frozen=True)
class MetricSpec:
    """A measure of the quality of a task's predictions.

    Attributes:
        name: in results; one that ends in `_at_k` means one metric for each K of
            `evaluation.top_k`.
        larger_is_better: None: neither way, as for a ratio whose best value is 1.
        shown: whether the tables of results have it; result.json has every metric.
        title: the name used in prose.
        constant: value of a constant prediction, where it does not depend on the data.
        reach: whether a share of the way from a constant's value to an oracle's means something.
    """

    name: str
    larger_is_better: bool | None = True
    shown: bool = True
    title: str = ""
    constant: float | None = None
    reach: bool = False

    def names(self, top_k: Sequence[int]) -> tuple[str, ...]:
        """The name, or one for each K."""
        if not self.name.endswith(_EACH_K):
            return (self.name,)
        return tuple(f"{self.name.removesuffix('k')}{k}" for k in top_k)

    def is_of(self, name: str) -> bool:
        """Whether `name` is a name of this metric: `recall_at_5` is one of `recall_at_k`."""
        return self.name in (name, re.sub(r"_at_\d+$", _EACH_K, name))
