"""Labels that are numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import polars as pl

from recsys_mtl.columns.canonical import canonical
from recsys_mtl.columns.numbers import Floats, Moments, read_numbers
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.columns.transforms import signed_expm1, signed_log1p
from recsys_mtl.errors import wrong
from recsys_mtl.tasks.label import Label, Labels

_LARGEST = float(np.finfo(np.float32).max)


@dataclass
class RegressionLabel(Label):
    """The label, standardised (`log1p`: its signed logarithm is) or as it is (`none`).

    Attributes:
        transform: standardize, log1p or none.
        mean, sd: what standardising takes; of the logarithm for log1p; 0 and 1 for none.
        prior: mean of the transformed training labels.
    """

    kind: ClassVar[str] = "regression"
    transform: str = "standardize"
    mean: float = 0.0
    sd: float = 1.0
    prior: float = 0.0
    _moments: Moments = field(default_factory=Moments, init=False, repr=False, compare=False)

    @property
    def spec(self) -> TaskSpec:
        """One value; its prior is the mean target."""
        return TaskSpec(self.task, "regression", 1, prior=(self.prior,))

    def update(self, values: pl.Series, rows: Rows) -> None:
        """Learns from a chunk of training labels."""
        numbers = self._read(values, rows)
        numbers = numbers[~np.isnan(numbers)]
        self._moments.update(signed_log1p(numbers) if self.transform == "log1p" else numbers)

    def finish(self) -> None:
        """Ends the fit."""
        if not self._moments.count:
            raise self.no_labels()
        if self.transform == "none":
            self.prior = self._moments.mean
        else:
            self.mean, self.sd = self._moments.mean, self._moments.sd or 1.0
        self._moments = Moments()

    def encode(self, values: pl.Series, rows: Rows) -> Labels:
        """(B,) transformed target, NaN where unlabelled."""
        numbers = self._read(values, rows)
        if self.transform == "log1p":
            numbers = signed_log1p(numbers)
        return np.clip((numbers - self.mean) / self.sd, -_LARGEST, _LARGEST).astype(np.float32)

    def decode(self, outputs: Floats, *, top_k: int) -> pl.DataFrame:
        """The value in the label's own unit, from (B, 1) transformed values."""
        numbers = outputs[:, 0] * self.sd + self.mean
        return pl.DataFrame(
            {self.task: signed_expm1(numbers) if self.transform == "log1p" else numbers}
        )

    def _read(self, values: pl.Series, rows: Rows) -> Floats:
        if self.null_values:
            missing = canonical(values).is_in(self.null_values).fill_null(False)
            values = values.set(missing, None)
        numbers = read_numbers(values, where=self.where, rows=rows)
        large = np.abs(numbers) > _LARGEST
        if large.any():
            first = int(large.argmax())
            raise wrong(
                "label beyond float32",
                where=self.where,
                expected=f"at most {_LARGEST:.3g} in magnitude",
                found=rows.found(float(numbers[first]), first),
                fix="give the label in a larger unit",
            )
        return numbers
