from __future__ import annotations

import numpy as np
import pytest

from recsys_mtl.metrics.differences import difference
from recsys_mtl.vision.reproduction.cells import (
    as_published,
    difference_cells,
    plus_minus,
)
from recsys_mtl.vision.reproduction.numbers import Spread

NAN = float("nan")


@pytest.mark.parametrize(
    ("spread", "shown"),
    [
        (Spread(0.25, 0.0123, 3), "0.2500 ± 0.012"),
        (Spread(0.25, NAN, 1), "0.2500"),
        (Spread(NAN, NAN, 0), ""),
    ],
)
def test_a_spread_is_shown_as_papers_do(spread: Spread, shown: str) -> None:
    assert plus_minus(spread, 4) == shown


def test_a_published_number_may_be_missing_or_alone() -> None:
    assert as_published(None, 4) == ""
    assert as_published([92.14, 0.02], 2) == "92.14 ± 0.02"
    assert as_published([92.14], 2) == "92.14"


def test_a_difference_has_three_cells() -> None:
    cells = difference(np.array([0.1, 0.11, 0.12]))
    assert difference_cells(cells) == ["+0.1100 [+0.0852, +0.1348]", "0.0027", "3:0"]
    assert difference_cells(difference(np.array([-0.1]))) == ["-0.1000", "", "0:1"]
    assert difference_cells(None) == ["", "", ""]
    assert difference_cells(difference(np.array([]))) == ["", "", "0:0"]
