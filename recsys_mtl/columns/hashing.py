"""Pseudo-random numbers that depend on a key only, such as a row's number.

SplitMix64: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", OOPSLA.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]


def splitmix64(state: Words) -> Words:
    """SplitMix64's step and finaliser, modulo 2^64: a different number for each state."""
    z = state + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(keys: Words, seed: int) -> npt.NDArray[np.float64]:
    """A number of [0, 1) for each key, by SplitMix64 of key and seed."""
    start = splitmix64(np.array([seed], dtype=np.uint64))
    mixed = splitmix64(splitmix64(keys) + start) >> np.uint64(11)  # a double holds 53 bits
    return mixed.astype(np.float64) * 2.0**-53
