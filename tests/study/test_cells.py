from __future__ import annotations

import numpy as np

from recsys_mtl.metrics.differences import difference
from recsys_mtl.study.cells import interval, number, with_interval, won_lost

NAN = float("nan")


def test_what_is_undefined_stays_empty() -> None:
    assert (number(NAN, ".2f"), interval(NAN, NAN, 2)) == ("", "")
    assert with_interval(difference(np.array([])), 2) == ""
    assert with_interval(difference(np.array([1.25])), 2) == "+1.25"


def test_a_difference_has_signs_and_digits() -> None:
    gain = difference(np.array([0.1, 0.11, -0.12]))
    assert with_interval(gain, 2) == "+0.03 [-0.29, +0.35]"
    assert interval(*gain.bootstrap, 3) == "[-0.120, +0.110]"
    assert won_lost(gain) == "2:1"
