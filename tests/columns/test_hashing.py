from __future__ import annotations

import numpy as np

from recsys_mtl.columns.hashing import splitmix64, uniform


def test_uniform_is_splitmix64() -> None:
    """The generator's published first outputs for state 1234567."""
    state = np.uint64(1234567) + np.arange(3, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert splitmix64(state).tolist() == expected
    values = uniform(np.arange(100_000, dtype=np.uint64), 3)
    assert values.min() >= 0
    assert values.max() < 1
    assert np.allclose(np.histogram(values, 10, (0, 1))[0] / 1e5, 0.1, atol=0.005)
