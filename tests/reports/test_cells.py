from __future__ import annotations

from recsys_mtl.reports.cells import interval, number, with_interval

NAN = float("nan")


def test_what_is_undefined_stays_empty() -> None:
    assert (number(NAN, ".2f"), number(None), interval(NAN, NAN, 2)) == ("", "", "")
    assert number(None, missing="–") == "–"
    assert with_interval(NAN, NAN, NAN, 2) == ""
    assert with_interval(1.25, NAN, NAN, 2) == "+1.25"


def test_numbers_have_digits_and_differences_signs() -> None:
    assert (number(0.5), number(0.5, ".1f")) == ("0.5000", "0.5")
    assert interval(-0.12, 0.11, 3) == "[-0.120, +0.110]"
    assert with_interval(0.03, -0.29, 0.35, 2) == "+0.03 [-0.29, +0.35]"
