"""Numeric columns: what shops and banks have, heavy tails, counts, signed amounts and shares."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import ndtr

from data_synth.plan import Features
from data_synth.state import Floats32
from data_synth.targets.base import Array, Rng

Mask = NDArray[np.bool_]
Shape = Callable[[Floats32], Array]


SHAPES: tuple[Shape, ...] = (
    lambda g: np.exp(np.float32(0.9) * g + np.float32(3.0)),  # lognormal
    lambda g: np.float32(3.0) * g + np.float32(10.0),  # normal
    lambda g: np.exp(np.log(ndtr(-g)) * np.float32(-1 / 2.5)),  # Pareto, tail exponent 2.5
    lambda g: np.floor(np.exp(np.float32(0.8) * g + np.float32(1.0))),  # count
    lambda g: np.float32(100.0) * np.sinh(np.float32(1.2) * g),  # signed amount, both tails heavy
    lambda g: ndtr(g),  # share
)


def numbers(views: Floats32, time: Array, features: Features, rng: Rng) -> dict[str, pa.Array]:
    """Columns number_01 … from views (R, V); the shapes in turn, each increasing in its view.

    Args:
        views: (R, V) standard normal.
        time: (R,) time within the period, from -1/2 to 1/2.
        features: sizes and missingness.
        rng: of the nulls.
    """
    shift = np.float32(features.drift) * time.astype(np.float32)
    return {
        f"number_{index + 1:02}": pa.array(
            SHAPES[index % len(SHAPES)](view + shift), mask=_nulls(index, view, features, rng)
        )
        for index, view in enumerate(np.ascontiguousarray(views.T))
    }


def _nulls(index: int, view: Floats32, features: Features, rng: Rng) -> Mask:
    missing = features.missing
    if index % 2 == 0:
        return at_random(len(view), missing.at_random, rng)
    return not_at_random(view, missing.not_at_random, rng)


def at_random(rows: int, share: float, rng: Rng) -> Mask:
    """Nulls at random."""
    return rng.random(rows, dtype=np.float32) < np.float32(share)


def not_at_random(view: Floats32, share: float, rng: Rng) -> Mask:
    """Nulls that become likelier as the standard normal view rises, from 0 to twice the share."""
    nulls: Mask = rng.random(len(view), dtype=np.float32) < np.float32(2 * share) * ndtr(view)
    return nulls
