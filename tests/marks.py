"""Which cases of a parametrised test are left to the slow suite."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def slow_except(quick: Collection[Any], cases: Iterable[Any]) -> list[Any]:
    """`cases` as parameters, all of them marked slow but those that are also in `quick`."""
    cases = list(cases)
    missing = [case for case in quick if case not in cases]
    assert not missing, f"no such case: {missing}"
    return [pytest.param(case, marks=() if case in quick else pytest.mark.slow) for case in cases]
