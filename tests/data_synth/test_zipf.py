from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_synth.zipf import Zipf

SIZES = st.integers(2, 3000)
EXPONENTS = st.one_of(st.floats(0.0, 2.0), st.just(1.0))


@given(SIZES, EXPONENTS)
def test_chances_sum_to_1_and_fall(ids: int, exponent: float) -> None:
    chances = Zipf(ids, exponent).chances()
    assert len(chances) == ids
    assert chances.sum() == pytest.approx(1.0)
    assert (np.diff(chances) <= 1e-12).all()


@given(SIZES, EXPONENTS)
def test_ranks_are_the_inverse_of_the_cumulated_chances(ids: int, exponent: float) -> None:
    zipf = Zipf(ids, exponent)
    below = np.concatenate([[0.0], zipf.chances().cumsum()])
    middle = (below[1:] + below[:-1]) / 2
    wide = np.diff(below) > 1e-12  # apart enough for float64
    np.testing.assert_array_equal(zipf.ranks(middle)[wide], np.arange(ids)[wide])
    assert zipf.ranks(np.array([0.0, 1.0])).tolist() == [0, ids - 1]


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.1, 2.0])
def test_the_slope_is_the_exponent(exponent: float) -> None:
    """Past the first ranks, where the integral of a power is the power of the middle."""
    chances = Zipf(100_000, exponent).chances()
    rank = np.arange(100, 50_000)
    slope = np.polyfit(np.log(rank + 1.5), np.log(chances[rank]), 1)[0]
    assert slope == pytest.approx(-exponent, abs=1e-4)


@given(st.one_of(SIZES, st.sampled_from([10, 100, 1000, 100_000])))
def test_names_are_a_permutation_that_hides_the_rank(ids: int) -> None:
    names = Zipf(ids, 1.0).names(np.arange(ids, dtype=np.int32))
    assert names.dtype == np.int32
    np.testing.assert_array_equal(np.sort(names), np.arange(ids))


def test_names_of_ten_million_do_not_overflow() -> None:
    names = Zipf(10_000_000, 1.1).names(np.array([0, 9_999_999], dtype=np.int32))
    assert ((names >= 0) & (names < 10_000_000)).all()


def test_names_do_not_rise_with_the_rank() -> None:
    names = Zipf(1000, 1.1).names(np.arange(1000, dtype=np.int32))
    assert abs(np.corrcoef(names, np.arange(1000))[0, 1]) < 0.1  # 1/sqrt(1000) is 0.03
