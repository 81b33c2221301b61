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
    """A column of finite weights, none negative or missing; a row of weight 0 counts nowhere.

    Weights are float32: one below what it can hold is 0.
    """

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

    def counted(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows without those of weight 0; those without a valid weight are kept."""
        dtype = frame.schema.get(self.column)
        if dtype is None or not (dtype.is_numeric() or dtype == pl.Boolean):
            return frame
        weights = frame[self.column].cast(pl.Float64).cast(pl.Float32)
        return frame.filter(weights.ne_missing(0))

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

    def representative(self, frame: pl.DataFrame, seed: int) -> pl.DataFrame:
        """Rows of a frame that stand for its weighted rows; see `representative`."""
        weights = self.encode(frame[self.column], Rows.of(frame))
        return frame[representative(weights, seed)]

    @property
    def _where(self) -> str:
        return f"data.weight: column '{self.column}'"


def representative(weights: NDArray[np.floating], seed: int) -> NDArray[np.intp]:
    """(n,) indices of rows, each as often as its weight (B,) asks, give or take one.

    n is the number of rows that the weights are worth, (Σw)² / Σw² (Kish 1965, Survey Sampling):
    all rows once where the weights are equal, those of weight 1 where all others are 0.
    """
    if (weights == weights[:1]).all():
        return np.arange(len(weights))
    ends = np.cumsum(weights, dtype=np.float64)
    count = max(1, round(ends[-1] ** 2 / np.square(weights, dtype=np.float64).sum()))
    points = np.arange(count) + np.random.default_rng(seed).random(count)
    last = np.flatnonzero(weights)[-1]
    indices: NDArray[np.intp] = np.searchsorted(ends, points * (ends[-1] / count), side="right")
    return indices.clip(max=last)
