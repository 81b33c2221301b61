"""Row weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.column import ColumnEncoder
from recsys_mtl.columns.numbers import read_numbers
from recsys_mtl.columns.rows import Rows
from recsys_mtl.errors import wrong

_LARGEST = np.finfo(np.float32).max


@dataclass
class Weight(ColumnEncoder):
    """A column of finite weights, none negative or missing."""

    kind: ClassVar[str] = "weight"
    _any_positive: bool = field(default=False, init=False, repr=False, compare=False)

    def update(self, values: pl.Series, rows: Rows) -> None:
        """Checks a chunk of training weights."""
        self._any_positive |= bool((self.encode(values, rows) > 0).any())

    def finish(self) -> None:
        """Ends the fit.

        Raises:
            UserError: every training weight is 0.
        """
        if not self._any_positive:
            raise wrong(
                "all weights are 0 in the training rows",
                where=self._where,
                fix="give rows that count a weight above 0, or drop data.weight",
            )

    def encode(self, values: pl.Series, rows: Rows) -> NDArray[np.float32]:
        """(B,) weights.

        Raises:
            UserError: a weight is negative, missing or not finite.
        """
        numbers = read_numbers(values, where=self._where, rows=rows)
        bad = ~((numbers >= 0) & (numbers <= _LARGEST))
        if bad.any():
            first = int(bad.argmax())
            raise wrong(
                "not a weight",
                where=self._where,
                expected="finite numbers from 0 on, none missing",
                found=rows.describe(values[first], first),
                fix="correct the weight in the data, or drop those rows",
            )
        return numbers.astype(np.float32)

    @property
    def _where(self) -> str:
        return f"data.weight: column '{self.column}'"
