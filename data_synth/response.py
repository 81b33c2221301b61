"""How a task's score answers to its direction of the state: a leaky hinge, standardised.

With t standard normal, psi(t) = (max(t, a t) - mean) / sd, a = 1 - one_sided. The correlation of
psi(t) and psi(t') for standard normals of correlation r has a closed form (the arc-cosine kernel of
order 1, Cho and Saul 2009), so a plan's correlations can be met exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_HALVINGS = 60


@dataclass(frozen=True)
class Response:
    """The hinge of one plan.

    Attributes:
        one_sided: 0 is linear, 1 is flat below 0.
    """

    one_sided: float

    @property
    def even_share(self) -> float:
        """Share of the variance in the even part |t|; the rest is linear in t."""
        linear, even = (1 - self.one_sided / 2) ** 2, (self.one_sided / 2) ** 2 * (1 - 2 / pi)
        return even / (linear + even)

    def __call__(self, t: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean 0 and variance 1 where t is standard normal; any shape."""
        half = self.one_sided / 2
        scale = 1 / sqrt((1 - half) ** 2 + half**2 * (1 - 2 / pi))
        even = np.abs(t)
        even -= np.float32(sqrt(2 / pi))
        even *= np.float32(half * scale)
        even += np.float32((1 - half) * scale) * t
        return even

    def correlation(self, r: Floats) -> Floats:
        """Correlation of psi(t) and psi(t') where t and t' have correlation r; rising in r."""
        r = np.clip(r, -1.0, 1.0)
        even: Floats = (np.sqrt(1 - r**2) + r * np.arcsin(r) - 1) / (pi / 2 - 1)
        return (1 - self.even_share) * r + self.even_share * even

    @property
    def floor(self) -> float:
        """The least correlation that two scores can have: that of opposed directions."""
        return 2 * self.even_share - 1

    def direction(self, rho: Floats) -> Floats:
        """Correlation of the directions that gives the scores correlation rho; -1 below `floor`."""
        low, high = np.full_like(rho, -1.0), np.ones_like(rho)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            above = self.correlation(middle) > rho
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return np.where(rho >= 1.0, 1.0, np.where(rho <= self.floor, -1.0, (low + high) / 2))
