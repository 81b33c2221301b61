"""Kinds that are not in the package: what docs/architecture.md says it takes to add one.

`share` is a task whose label is a share in [0, 1], with a metric of its own; `first` is a combiner
that follows the first present task; `absolute` is a loss and `powers` a balancing; `linear` is an
architecture; the feature is that of `tests/profile_feature.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
import torch
from torch import Tensor

from recsys_mtl.columns.numbers import Floats, Moments
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.config.architecture import ArchitectureConfig
from recsys_mtl.config.balancing import BalancingConfig
from recsys_mtl.config.combiner import CombinerConfig
from recsys_mtl.config.losses import RegressionLossConfig
from recsys_mtl.config.metric import MetricSpec
from recsys_mtl.config.tasks import TaskConfig
from recsys_mtl.gradients.combiner import GramCombiner
from recsys_mtl.gradients.combiners import COMBINERS
from recsys_mtl.losses import BALANCERS, Balancer, TaskLoss, pointwise
from recsys_mtl.metrics import Metrics
from recsys_mtl.metrics.weighing import Array, Score, Weighing, mean, prepare_mean, together
from recsys_mtl.model import ARCHITECTURES, Architecture, ArchitectureOutput, ArchitectureSpec
from recsys_mtl.model.grouped import GroupedLinear
from recsys_mtl.model.members import MemberInputs
from recsys_mtl.tasks import Boosting, Kind, ToUnit, register, unregister
from recsys_mtl.tasks.amount import AmountLabel
from recsys_mtl.tasks.kind import Scoring
from recsys_mtl.tasks.start import log_odds
from tests.profile_feature import profiles

# ------------------------------------------------------------------ a metric


def closeness(labels: Array, predictions: Array, weights: Array) -> float:
    """1 - the mean absolute error."""
    return mean(1 - np.abs(labels - predictions), weights)


def prepare_closeness(labels: Array, predictions: Array) -> Weighing:
    """`closeness` as a function of the weights."""
    return prepare_mean(1 - np.abs(labels - predictions))


# ----------------------------------------------------------- a kind of task


class ShareConfig(TaskConfig):
    """A share in [0, 1]."""

    metrics = (MetricSpec("closeness"),)
    main = "closeness"
    summary = ("closeness",)

    kind: Literal["share"]


@dataclass
class ShareLabel(AmountLabel):
    """The share itself."""

    kind: ClassVar[str] = "share"
    mean: float = 0.5
    _moments: Moments = field(default_factory=Moments, init=False, repr=False, compare=False)

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(self.task, self.kind, 1, prior=(self.mean,))

    def update(self, values: pl.Series, rows: Rows) -> None:
        shares = self.amounts(values, rows)
        labelled = ~np.isnan(shares)
        self._moments.update(shares[labelled], rows.weights_of(labelled))

    def finish(self) -> None:
        self.mean, self._moments = self._moments.mean, Moments()

    def columns(self, outputs: Floats) -> dict[str, Array]:
        return {self.task: 1 / (1 + np.exp(-outputs[:, 0]))}


class Share(Kind[ShareConfig]):
    """Cross-entropy of a share."""

    section = ShareConfig
    ordered = True
    leakage = "rank"

    def label(self, name: str, task: ShareConfig) -> ShareLabel:
        return ShareLabel(**self.common(name, task))

    def start(self, prior: Tensor) -> Tensor:
        return log_odds(prior)

    def loss(self, task: ShareConfig) -> TaskLoss:
        return TaskLoss(pointwise.bce_with_logits, elementwise=True)

    def predict(self, spec: TaskSpec, outputs: Tensor, labels: Tensor, scores: Scoring) -> Tensor:
        return outputs[:, 0].sigmoid()

    def metrics(
        self, labels: Array, predictions: Array, weights: Array, *, bins: int, top_k: Sequence[int]
    ) -> Metrics:
        return {"closeness": closeness(labels, predictions, weights)}

    def score(self, labels: Sequence[Array], predictions: Sequence[Array]) -> Score:
        return together([prepare_closeness(a, b) for a, b in zip(labels, predictions, strict=True)])

    def constant(self, spec: TaskSpec, labels: Array, weights: Array, to_unit: ToUnit) -> Array:
        return np.asarray(np.average(labels, weights=weights))

    def boosting(self) -> tuple[Boosting, ...]:
        return (Boosting("squared_error"),)

    def boosted(self, spec: TaskSpec, predicted: Sequence[Array], to_unit: ToUnit) -> Array:
        return predicted[0]

    def targets(self, spec: TaskSpec, labels: Tensor, items: Tensor | None) -> Tensor:
        return labels.unsqueeze(1)


# --------------------------------------------------------------- a combiner


class FirstConfig(CombinerConfig):
    """The first task's gradient."""

    name: Literal["first"]


class First(GramCombiner):
    """All weight on the first present task."""

    def weights(self, grams: Tensor, *, tasks: Tensor, step: int) -> Tensor:
        weights = torch.zeros(grams.shape[:2])
        weights[:, 0] = 1.0
        return weights


# ------------------------------------------------- a loss and a balancing


class AbsoluteConfig(RegressionLossConfig):
    """Absolute error."""

    name: Literal["absolute"]
    scale: float = 1.0


def absolute(predictions: Tensor, labels: Tensor, *, scale: float) -> Tensor:
    """Absolute error; any shape."""
    return scale * (predictions - labels).abs()


class PowersConfig(BalancingConfig):
    """Powers of the losses."""

    name: Literal["powers"]
    exponent: float = 2.0


class Powers(Balancer):
    """The weighted sum of a power of each loss."""

    def __init__(self, task_weights: Tensor, *, exponent: float) -> None:
        super().__init__(task_weights)
        self.exponent = exponent

    def combine(self, losses: Tensor, present: Tensor) -> Tensor:
        return torch.where(present, self.task_weights * losses**self.exponent, 0).sum()


# ---------------------------------------------------------- an architecture


class LinearConfig(ArchitectureConfig):
    """One linear map a task."""

    name: Literal["linear"]
    width: int = 4


class Linear(Architecture):
    """One linear map a task."""

    def __init__(self, tasks: Sequence[str], in_features: int, width: int) -> None:
        super().__init__()
        self.map = GroupedLinear(len(tasks), in_features, width)
        self.out_features = width
        self.expert_names = dict.fromkeys(tasks, ())

    @classmethod
    def of(cls, spec: ArchitectureSpec, **options: Any) -> Self:
        return cls(spec.experts.tasks, spec.in_features, **options)

    def forward(
        self, x: Tensor | MemberInputs, by_task: Tensor | None = None
    ) -> ArchitectureOutput:
        return ArchitectureOutput(self.map(x))


@contextmanager
def registered() -> Iterator[None]:
    """All of them, for a while."""
    kind = Share()
    register(kind)
    CombinerConfig.register(FirstConfig)
    BalancingConfig.register(PowersConfig)
    RegressionLossConfig.register(AbsoluteConfig)
    ArchitectureConfig.register(LinearConfig)
    ARCHITECTURES["linear"] = Linear
    COMBINERS["first"], BALANCERS["powers"], pointwise.NAMED["absolute"] = First, Powers, absolute
    try:
        with profiles():
            yield
    finally:
        del COMBINERS["first"], BALANCERS["powers"], pointwise.NAMED["absolute"]
        del ARCHITECTURES["linear"]
        ArchitectureConfig.unregister(LinearConfig)
        RegressionLossConfig.unregister(AbsoluteConfig)
        BalancingConfig.unregister(PowersConfig)
        CombinerConfig.unregister(FirstConfig)
        unregister(kind)
