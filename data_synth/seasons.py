"""How scores move with the day: a drift over the period, a weekly rhythm and slower waves.

The waves are the cosines of the discrete cosine transform, orthogonal over the days of the period,
so the movements of the scores have exactly the planned correlations.
"""

from __future__ import annotations

import numpy as np

from data_synth.response import Floats

_DRIFT = 1  # half a wave over the period


def movements(relation: Floats, days: int) -> Floats:
    """(days, T) movement of each score by day: mean 0, variance 1, correlations `relation`.

    Args:
        relation: (T, T), T below `days`.
        days: length of the period.
    """
    weekly = round(2 * days / 7)
    slow = (k for k in range(2, days) if k != weekly)
    waves = [_DRIFT, weekly, *slow][: len(relation)]
    day = np.arange(days) + 0.5
    basis = np.sqrt(2.0) * np.cos(np.pi * np.outer(day, waves) / days)
    values, vectors = np.linalg.eigh(relation)
    rotated = vectors[:, ::-1] * np.sqrt(np.maximum(values[::-1], 0.0))  # the drift moves most
    moved: Floats = basis @ rotated.T
    return moved
