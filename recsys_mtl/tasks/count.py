"""Labels that are numbers of events: purchases in 30 days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl

from recsys_mtl.columns.numbers import Floats, Moments
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.config.tasks import CountConfig
from recsys_mtl.metrics import Metrics, binary, regression
from recsys_mtl.metrics import count as of
from recsys_mtl.metrics.weighing import Array, Score, Weighing, together
from recsys_mtl.tasks.amount import AmountLabel
from recsys_mtl.tasks.kind import Boosting, Kind, Scoring, ToUnit
from recsys_mtl.tasks.start import log_mean_exp

if TYPE_CHECKING:
    from torch import Tensor

    from recsys_mtl.losses import TaskLoss

_LEAST_RATE = 1e-6


@dataclass
class CountLabel(AmountLabel):
    """The count itself; fractions are allowed, for exposures.

    Attributes:
        mean: of the labelled training rows.
    """

    kind: ClassVar[str] = "count"
    mean: float = 1.0
    _moments: Moments = field(default_factory=Moments, init=False, repr=False, compare=False)

    @property
    def spec(self) -> TaskSpec:
        """The logarithm of the expected count; its prior is the mean."""
        return TaskSpec(self.task, self.kind, 1, prior=(self.mean,))

    def update(self, values: pl.Series, rows: Rows) -> None:
        """Learns from a chunk of training labels."""
        counts = self.amounts(values, rows)
        labelled = ~np.isnan(counts)
        self._moments.update(counts[labelled], rows.weights_of(labelled))

    def finish(self) -> None:
        """Ends the fit."""
        if not self._moments.count:
            raise self.no_labels()
        if not self._moments.mean > 0:
            raise self.always_zero()
        self.mean = self._moments.mean
        self._moments = Moments()

    def columns(self, outputs: Floats) -> dict[str, Array]:
        """The expected count, from (B, 1) logarithms."""
        return {self.task: np.exp(outputs[:, 0])}


class Count(Kind[CountConfig]):
    """Poisson regression: the output is the logarithm of the expected count."""

    section = CountConfig
    measure = staticmethod(of.poisson_d2)
    ordered = True
    leakage = "rank"

    def label(self, name: str, task: CountConfig) -> CountLabel:
        """An unfitted encoder."""
        return CountLabel(**self.common(name, task))

    def start(self, prior: Tensor) -> Tensor:
        """The logarithm of the mean."""
        return prior.clamp_min(_LEAST_RATE).log()

    def head_bias(self, spec: TaskSpec) -> Tensor:
        """That of the tower: rare events are far from a count of 1."""
        return self.output_bias(spec)

    def loss(self, task: CountConfig) -> TaskLoss:
        """Half the Poisson deviance."""
        from recsys_mtl.losses import TaskLoss, pointwise

        return TaskLoss(pointwise.poisson, elementwise=True)

    def merged(self, outputs: Tensor) -> Tensor:
        """The logarithm of the mean expected count."""
        return log_mean_exp(outputs)

    def predict(self, spec: TaskSpec, outputs: Tensor, labels: Tensor, scores: Scoring) -> Tensor:
        """(B,) expected counts."""
        return outputs[:, 0].exp()

    def metrics(
        self, labels: Array, predictions: Array, weights: Array, *, bins: int, top_k: Sequence[int]
    ) -> Metrics:
        """Of expected counts (N,)."""
        rows = np.asarray(labels, np.float64), np.asarray(predictions, np.float64), weights
        return {
            "poisson_deviance": of.mean_poisson_deviance(*rows),
            "poisson_d2": of.poisson_d2(*rows),
            "mae": regression.mae(*rows),
            "rank_correlation": regression.rank_correlation(*rows),
            "calibration_ratio": binary.calibration_ratio(*rows),
        }

    def score(self, labels: Sequence[Array], predictions: Sequence[Array]) -> Score:
        """Share of the deviance explained, D²."""
        pairs = zip(labels, predictions, strict=True)
        return together([of.prepare_poisson_d2(own, predicted) for own, predicted in pairs])

    def calibration(
        self, labels: Array, predicted: Array, weights: Array, *, bins: int
    ) -> Weighing | None:
        """Of the mean prediction."""
        return regression.prepare_error_of_mean(labels, predicted)

    def constant(self, spec: TaskSpec, labels: Array, weights: Array, to_unit: ToUnit) -> Array:
        """The mean."""
        return np.asarray(np.average(labels, weights=weights))

    def boosting(self) -> tuple[Boosting, ...]:
        """Poisson regression trees."""
        return (Boosting("poisson"),)

    def boosted(self, spec: TaskSpec, predicted: Sequence[Array], to_unit: ToUnit) -> Array:
        """The expected counts."""
        return predicted[0]

    def targets(self, spec: TaskSpec, labels: Tensor, items: Tensor | None) -> Tensor:
        """The label."""
        return labels.unsqueeze(1)
