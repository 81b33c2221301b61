"""Scores on a fixed grid: the one statistic that every expected metric of a task needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_synth.response import Floats


@dataclass(frozen=True)
class Grid:
    """Equally spaced points around 0.

    Attributes:
        per_unit: points per unit of score.
        reach: scores beyond +-reach count as the last point.
    """

    per_unit: int
    reach: int

    @property
    def points(self) -> Floats:
        """(P,) the points, rising."""
        last = self.per_unit * self.reach
        return np.arange(-last, last + 1) / self.per_unit

    def nearest(self, scores: NDArray[np.floating]) -> NDArray[np.int64]:
        """Index of the nearest point of each score."""
        last = self.per_unit * self.reach
        near = np.clip(np.rint(scores * self.per_unit), -last, last)
        return np.asarray(near, dtype=np.int64) + last

    def count(self, scores: NDArray[np.floating]) -> NDArray[np.int64]:
        """(P,) scores at each point."""
        return np.bincount(self.nearest(scores), minlength=len(self.points))


FINE = Grid(per_unit=256, reach=12)
COARSE = Grid(per_unit=32, reach=10)
