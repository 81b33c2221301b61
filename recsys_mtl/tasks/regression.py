"""Labels that are numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl

from recsys_mtl.columns.numbers import Floats, Moments
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.columns.transforms import signed_expm1, signed_log1p
from recsys_mtl.config.tasks import RegressionConfig
from recsys_mtl.metrics import Metrics
from recsys_mtl.metrics import regression as of
from recsys_mtl.metrics.weighing import Array, Score, Weighing
from recsys_mtl.tasks.amount import LARGEST, NumberLabel
from recsys_mtl.tasks.kind import Boosting, Kind, Scoring, ToUnit
from recsys_mtl.tasks.label import Labels

if TYPE_CHECKING:
    from torch import Tensor

    from recsys_mtl.losses import TaskLoss


@dataclass
class RegressionLabel(NumberLabel):
    """The label, standardised (`log1p`: its signed logarithm is) or as it is (`none`).

    Attributes:
        transform: standardize, log1p or none.
        mean, sd: of the label; of its logarithm for log1p; 0 and 1 for none.
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
        return TaskSpec(self.task, self.kind, 1, prior=(self.prior,))

    def update(self, values: pl.Series, rows: Rows) -> None:
        """Learns from a chunk of training labels."""
        numbers = self.numbers(values, rows)
        labelled = ~np.isnan(numbers)
        numbers = numbers[labelled]
        scaled = signed_log1p(numbers) if self.transform == "log1p" else numbers
        self._moments.update(scaled, rows.weights_of(labelled))

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
        numbers = self.numbers(values, rows)
        if self.transform == "log1p":
            numbers = signed_log1p(numbers)
        return np.clip((numbers - self.mean) / self.sd, -LARGEST, LARGEST).astype(np.float32)

    def columns(self, outputs: Floats) -> dict[str, Array]:
        """The value in the label's own unit, from (B, 1) transformed values."""
        return {self.task: self.to_unit(outputs[:, 0])}

    def to_unit(self, values: Array) -> Array:
        """Undoes the transform, in float64."""
        numbers = np.asarray(values, np.float64) * self.sd + self.mean
        return signed_expm1(numbers) if self.transform == "log1p" else numbers


class Regression(Kind[RegressionConfig]):
    """The transformed target."""

    section = RegressionConfig
    measure = staticmethod(of.rank_correlation)
    ordered = True
    leakage = "rank"

    def label(self, name: str, task: RegressionConfig) -> RegressionLabel:
        """An unfitted encoder."""
        return RegressionLabel(**self.common(name, task), transform=task.transform)

    def loss(self, task: RegressionConfig) -> TaskLoss:
        """By default squared error."""
        from recsys_mtl.losses import TaskLoss

        return TaskLoss.named(**task.loss.model_dump())

    def predict(self, spec: TaskSpec, outputs: Tensor, labels: Tensor, scores: Scoring) -> Tensor:
        """(B,) transformed values."""
        return outputs[:, 0]

    def metrics(
        self, labels: Array, predictions: Array, weights: Array, *, bins: int, top_k: Sequence[int]
    ) -> Metrics:
        """Of values (N,) in the label's unit."""
        rows = np.asarray(labels, np.float64), np.asarray(predictions, np.float64), weights
        return {
            "rmse": of.rmse(*rows),
            "mae": of.mae(*rows),
            "r2": of.r2(*rows),
            "rank_correlation": of.rank_correlation(*rows),
        }

    def score(self, labels: Sequence[Array], predictions: Sequence[Array]) -> Score:
        """Spearman's rank correlation, of all models with the last one's labels."""
        return of.prepare_rank_correlation(labels[-1], predictions)

    def calibration(
        self, labels: Array, predicted: Array, weights: Array, *, bins: int
    ) -> Weighing | None:
        """Of the mean prediction."""
        return of.prepare_error_of_mean(labels, predicted)

    def constant(self, spec: TaskSpec, labels: Array, weights: Array, to_unit: ToUnit) -> Array:
        """The mean in the label's unit, where it is the best constant."""
        return np.asarray(np.average(to_unit(labels), weights=weights))

    def boosting(self) -> tuple[Boosting, ...]:
        """A regressor of the transformed target."""
        return (Boosting("squared_error"),)

    def boosted(self, spec: TaskSpec, predicted: Sequence[Array], to_unit: ToUnit) -> Array:
        """The values in the label's unit."""
        return to_unit(predicted[0])

    def targets(self, spec: TaskSpec, labels: Tensor, items: Tensor | None) -> Tensor:
        """The label."""
        return labels.unsqueeze(1)
