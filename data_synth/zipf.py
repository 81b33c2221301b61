"""Ids whose use falls with their rank, from uniform numbers."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from data_synth.response import Floats

Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Zipf:
    """Ranks 0 … ids - 1 with a probability of about (rank + 1)^-exponent.

    The distribution function is that of a truncated Pareto variable, rounded down: a rank
    is one power of a uniform number.

    Attributes:
        ids: how many there are.
        exponent: 0: all are equally frequent.
    """

    ids: int
    exponent: float

    def ranks(self, uniform: NDArray[np.floating]) -> Ints:
        """The rank of each number of [0, 1); rising in it. Any shape."""
        return np.minimum(self._inverse(uniform).astype(np.int32) - 1, self.ids - 1)

    def names(self, ranks: Ints) -> Ints:
        """Ids 0 … ids - 1, in an order that does not show the rank."""
        step = max(1, round(self.ids * 0.618))
        while gcd(step, self.ids) != 1:
            step += 1
        return ((ranks.astype(np.int64) * step + self.ids // 3) % self.ids).astype(np.int32)

    def chances(self) -> Floats:
        """(ids,) probability of each rank."""
        edges = np.arange(1, self.ids + 2, dtype=np.float64)
        return np.diff(self._forward(edges))

    def _inverse(self, uniform: NDArray[np.floating]) -> Floats:
        u, top, power = uniform.astype(np.float64), self.ids + 1.0, 1.0 - self.exponent
        if abs(power) < 1e-9:
            return np.asarray(np.exp(u * np.log(top)))
        value: Floats = (1.0 + u * (top**power - 1.0)) ** (1.0 / power)
        return value

    def _forward(self, edges: Floats) -> Floats:
        top, power = self.ids + 1.0, 1.0 - self.exponent
        if abs(power) < 1e-9:
            share: Floats = np.log(edges) / np.log(top)
        else:
            share = (edges**power - 1.0) / (top**power - 1.0)
        return share
