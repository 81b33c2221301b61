"""What the labels of every kind share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator
Array = NDArray[Any]


def with_noise(scores: Array, share: float, rng: Rng) -> Array:
    """The scores that labels are drawn with: a share of rows takes another row's."""
    if share == 0.0:
        return scores
    others = rng.permutation(scores)
    return np.where(rng.random(len(scores)) < share, others, scores)
