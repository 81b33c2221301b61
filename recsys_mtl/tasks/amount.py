"""`NumberLabel`: base of the labels that are numbers."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from recsys_mtl.columns.numbers import Floats, read_known
from recsys_mtl.columns.rows import Rows
from recsys_mtl.errors import UserError, wrong
from recsys_mtl.metrics.weighing import Array
from recsys_mtl.tasks.label import Label, Labels

LARGEST = float(np.finfo(np.float32).max)
_RELATIVE = 1e-4  # the labels of each model went through float32 and a separate transform


@dataclass
class NumberLabel(Label, ABC):
    """A number; null and NaN are unlabelled."""

    def reads_same(self, other: Self, ours: Array, theirs: Array) -> bool:
        """Whether the numbers are close."""
        near = _RELATIVE * float(np.std(ours)) if len(ours) else 0.0
        return bool(np.allclose(ours, theirs, rtol=_RELATIVE, atol=near))

    def numbers(self, values: pl.Series, rows: Rows) -> Floats:
        """(B,) numbers, NaN where unlabelled.

        Raises:
            UserError: the column is not of numbers, or one is beyond float32.
        """
        numbers = read_known(values, self.null_values, where=self.where, rows=rows)
        large = np.abs(numbers) > LARGEST
        if large.any():
            first = int(large.argmax())
            raise wrong(
                "label beyond float32",
                where=self.where,
                expected=f"at most {LARGEST:.3g} in magnitude",
                found=rows.describe(float(numbers[first]), first),
                fix="give the label in a larger unit",
            )
        return numbers


@dataclass
class AmountLabel(NumberLabel, ABC):
    """A number of at least 0, which is its own target."""

    def encode(self, values: pl.Series, rows: Rows) -> Labels:
        """(B,) the label, NaN where unlabelled."""
        return self.amounts(values, rows).astype(np.float32)

    def amounts(self, values: pl.Series, rows: Rows) -> Floats:
        """(B,) numbers of at least 0, NaN where unlabelled.

        Raises:
            UserError: see `numbers`, or one is negative.
        """
        numbers = self.numbers(values, rows)
        negative = numbers < 0
        if negative.any():
            first = int(negative.argmax())
            raise wrong(
                "a negative label",
                where=self.where,
                expected="numbers from 0 on, or null",
                found=rows.describe(float(numbers[first]), first),
                fix="correct the label, or make the task kind: regression",
            )
        return numbers

    def always_zero(self) -> UserError:
        """The error of a label that is 0 wherever it is labelled."""
        return wrong(
            "the label is 0 in all training rows",
            where=self.where,
            expected="some rows above 0",
            found="only 0",
            fix="remove the task, or check the label and the split",
        )
