"""Columns of a few rows as Python values: a frame's fixed cost a column is many times theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import polars as pl

SINGLE = frozenset({int, float, bool, str})
"""Types of values whose rules are those of the column that they make."""
_NUMBERS = frozenset({int, float, bool, np.float32})
_SHORT = (pl.Float32, pl.Float16)
_WHOLE = 2**63  # beyond it integers are no int64


@dataclass(frozen=True)
class FewValues:
    """A column of a few rows.

    Attributes:
        values: of each row; None: missing.
        types: of those that are not None; float32 for shorter numbers than Python's, which have
            texts of their own.
    """

    values: Sequence[Any]
    types: frozenset[type]

    @classmethod
    def of(cls, values: Sequence[Any]) -> FewValues:
        """Python values."""
        return cls(values, frozenset(map(type, values)) - {type(None)})

    @classmethod
    def read(cls, column: pl.Series) -> FewValues:
        """Those of a column."""
        if column.dtype in _SHORT:
            return cls(column.to_list(), frozenset({np.float32}))
        if getattr(column.dtype, "inner", None) in _SHORT:
            return cls((), frozenset({object}))
        return cls.of(column.to_list())

    @property
    def numbers(self) -> bool:
        """Whether all are numbers or booleans."""
        return self.types <= _NUMBERS

    @property
    def alike(self) -> bool:
        """Whether all are of one type of `SINGLE`, integers of 64 bits."""
        one = not self.types or (len(self.types) == 1 and self.types <= SINGLE)
        return one and not (int in self.types and any(map(is_too_long, self.values)))

    def lists(self, separator: str | None) -> list[list[Any]] | None:
        """The lists, empty ones of None; None: they are none, or not of values that are alike.

        Args:
            separator: splits text into lists without empty pieces; None takes lists only.
        """
        if self.types <= {str} and self.types and separator is not None:
            split = [() if text is None else text.split(separator) for text in self.values]
            return [[piece for piece in pieces if piece] for pieces in split]
        lists = [[] if value is None else value for value in self.values]
        return lists if self.types <= {list} and flat(lists).alike else None


FewColumns = Mapping[str, FewValues]


def flat(lists: Sequence[Sequence[Any]]) -> FewValues:
    """The entries of all lists one after another."""
    return FewValues.of([*chain.from_iterable(lists)])


def is_too_long(value: Any) -> bool:
    """Whether it is an integer that is no int64."""
    return isinstance(value, int) and not -_WHOLE <= value < _WHOLE
