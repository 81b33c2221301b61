"""Yes/no labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
import polars as pl
from scipy.special import expit

from recsys_mtl.columns.lookup import Lookup
from recsys_mtl.columns.numbers import Floats
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.errors import wrong
from recsys_mtl.tasks.label import Label, Labels, targets

_TRUTHS = {"0": 0, "false": 0, "1": 1, "true": 1}


@dataclass
class BinaryLabel(Label):
    """0 or 1.

    Attributes:
        positive: the value that counts as 1, any other as 0; None takes 0/1 and booleans only.
        rate: share of ones among the labelled training rows.
    """

    kind: ClassVar[str] = "binary"
    positive: str | None = None
    rate: float = 0.5
    _labelled: int = field(default=0, init=False, repr=False, compare=False)
    _ones: int = field(default=0, init=False, repr=False, compare=False)

    @property
    def spec(self) -> TaskSpec:
        """One logit; its prior is the rate."""
        return TaskSpec(self.task, "binary", 1, prior=(self.rate,))

    def update(self, values: pl.Series, rows: Rows) -> None:
        """Counts a chunk of training labels."""
        encoded = self.encode(values, rows)
        self._labelled += int(np.isfinite(encoded).sum())
        self._ones += int((encoded == 1).sum())

    def finish(self) -> None:
        """Ends the fit."""
        if not self._labelled:
            raise self.no_labels()
        if self._ones in (0, self._labelled):
            raise self.one_class("1" if self._ones else "0")
        self.rate = self._ones / self._labelled

    def encode(self, values: pl.Series, rows: Rows) -> Labels:
        """(B,) 0 or 1, NaN where unlabelled."""
        codes = self.codes(values, self._lookup)
        found = self.outside(values, codes, rows)
        if found is not None:
            raise wrong(
                "not a yes/no label",
                where=self.where,
                expected="0, 1, true, false or null",
                found=found,
                fix=f"name the value that counts as 1: tasks.{self.task}.positive",
            )
        return targets(codes)

    def decode(self, outputs: Floats, *, top_k: int) -> pl.DataFrame:
        """The probability, from (B, 1) logits."""
        return pl.DataFrame({self.task: expit(outputs[:, 0])})

    @cached_property
    def _lookup(self) -> Lookup:
        if self.positive is None:
            return self.lookup(_TRUTHS)
        return self.lookup({self.positive: 1}, unknown=0)
