"""The rows that `fit` holds out by itself, and whose numbers errors are to name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from recsys_mtl.errors import UserError, wrong
from recsys_mtl.estimator.document import WHERE

_VALID = 0.15
_ROW = re.compile(r"(?<= in row )\d+(?= \(counted from 0\))")


def held_out(rows: int, seed: int) -> NDArray[np.bool_]:
    """(R,) whether a row is of the random 15 % that validate.

    Raises:
        UserError: there are too few rows, or it is no seed.
    """
    if not isinstance(seed, int | np.integer) or seed < 0:
        expected, found = "a whole number from 0 on", repr(seed)
        raise wrong("no seed", where=f"{WHERE}: seed", expected=expected, found=found)
    valid = np.random.default_rng(seed).random(rows) < _VALID
    if valid.all() or not valid.any():
        raise wrong("too few rows", where=f"{WHERE}: fit", found=f"n_samples={rows}")
    return valid


@contextmanager
def rows_as_given(valid: NDArray[np.bool_] | None) -> Iterator[None]:
    """Problems inside, which number the rows of either half, number those of all rows.

    Args:
        valid: (R,) of `held_out`; None: the rows are in one piece. An error does not say of which
            half it is: both rows are named where both have its number.
    """
    if valid is None:
        yield
        return
    halves = [np.flatnonzero(~valid), np.flatnonzero(valid)]

    def given(number: re.Match[str]) -> str:
        row = int(number[0])
        return " or ".join(str(rows[row]) for rows in halves if row < len(rows))

    try:
        yield
    except UserError as error:
        problems = [replace(p, found=_ROW.sub(given, p.found)) for p in error.problems]
        raise UserError(*problems) from error
