"""`Coder`: from a category to a row of an embedding table.

Row 0 of every table is for unknown categories, row 1 for null, the known ones start at row 2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.numbers import Floats
from recsys_mtl.columns.state import FittedState

UNKNOWN_ROW = 0
NULL_ROW = 1
FIRST_ROW = 2
_REMEMBERED = 4096
_LONGEST = 256  # characters of a remembered text
_EXACT = 2**53


@dataclass
class Coder(FittedState, ABC):
    """Base of the ways to code categories.

    Attributes:
        null_values: canonical texts that mean null.
    """

    null_values: list[str]

    @property
    @abstractmethod
    def rows(self) -> int:
        """Rows of the table, the reserved ones included."""

    @property
    def names(self) -> Sequence[object]:
        """What the rows after the reserved ones mean; empty where they have no names."""
        return ()

    @abstractmethod
    def update(self, values: pl.Series, weights: Floats | None = None) -> None:
        """Learns from a chunk of training values and their rows' weights."""

    @abstractmethod
    def finish(self) -> None:
        """Ends the fit."""

    def warning(self) -> str:
        """What the fit warns of; empty: of nothing."""
        return ""

    def grow(self, other: Coder) -> None:
        """Adds another fit's values that this one lacks, as far as there is room."""

    def same_rows(self, other: Coder) -> NDArray[np.int64]:
        """(rows,) the row of another table with the same value, -1 where it has none.

        Raises:
            ValueError: rows of the two do not mean values of one kind.
        """
        raise ValueError(f"rows of {type(self).__name__} cannot be matched by value")

    @abstractmethod
    def codes(self, values: pl.Series) -> NDArray[np.int64]:
        """(B,) row of each value, always within the table."""

    def code(self, value: Any) -> int | None:
        """Row of a value that is found without `codes`; None: another one."""
        del value
        return None

    def codes_of_integers(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B,) `codes` of integers."""
        return self.codes(pl.Series(keys))

    def codes_of_few(self, values: Sequence[Any]) -> list[int]:
        """`codes` of Python values of one type, see `FewValues.alike`, and None.

        What only `codes` knows is remembered, up to a limit.
        """
        codes = [self._known(value) for value in values]
        others = [value for value, code in zip(values, codes, strict=True) if code is None]
        rows = self.codes(pl.Series(others)).tolist() if others else []
        for value, row in zip(others, rows, strict=True):
            if len(self._seen) >= _REMEMBERED:  # another thread may have added one
                self._seen.clear()
            if not isinstance(value, str) or len(value) <= _LONGEST:
                self._seen[_key(value)] = row
        rest = iter(rows)
        return [next(rest) if code is None else code for code in codes]

    def _known(self, value: Any) -> int | None:
        if value is None or value != value:
            return NULL_ROW
        kind, plain = _key(value)
        code = self.code(plain)
        return self._seen.get((kind, plain)) if code is None else code

    @cached_property
    def _seen(self) -> dict[tuple[type, Any], int]:
        return {}


def _key(value: Any) -> tuple[type, Any]:
    """The value with its type; a whole float as the integer that has the same canonical text."""
    if type(value) is float and value.is_integer() and abs(value) < _EXACT:
        value = int(value)
    return type(value), value
