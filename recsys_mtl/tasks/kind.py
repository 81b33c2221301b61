"""`Kind`: base of the kinds of tasks.

A kind has no state. What is fitted on the training rows is its `Label`. Importing a kind does not
import torch, so that jobs which only read results start fast: methods import what they need.

Shapes: B rows, o outputs of the task's tower, R rows of a whole set, N of them labelled, C classes,
I items, M models, F columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
import polars as pl

from recsys_mtl.columns.canonical import canonical_texts
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.config.shape import tags
from recsys_mtl.config.tasks import TaskConfig
from recsys_mtl.metrics import Metric, Metrics
from recsys_mtl.metrics.weighing import Array, Score, Weighing

if TYPE_CHECKING:
    from torch import Tensor

    from recsys_mtl.losses import TaskLoss
    from recsys_mtl.tasks.label import Label

Section = TypeVar("Section", bound=TaskConfig)
ToUnit = Callable[[Array], Array]
"""From targets, or from what `Kind.predict` gives, to the label's own unit."""
Scoring = Callable[["Tensor"], "Tensor"]
"""(B, o) queries to (B, I) scores of all items."""


@dataclass(frozen=True)
class Boosting:
    """A model of gradient boosting that a baseline consists of.

    Attributes:
        loss: of a regressor; None is a classifier.
        target: from the labels to what it learns.
    """

    loss: str | None
    target: Callable[[Array], Array] = lambda labels: labels


class Kind(ABC, Generic[Section]):
    """A kind of task.

    Attributes:
        section: its section in the config, which also knows its metrics.
        measure: the main metric, of labels (N,), predictions (N,) or (N, C) and weights (N,). True
            probabilities or means in place of labels give the metric against the truth.
        signed: one output a row, so that two such tasks can agree or disagree.
        ordered: labels are numbers whose order means something.
        no_boosting: why gradient boosting cannot predict it; empty where it can.
        infinite: whether a prediction may be infinite (the rank of a miss).
        reliability: whether predictions are probabilities of one event, to be set beside its share.
        leakage: what tells that a feature determines the label: AUC, rank correlation, or accuracy
            by a shallow tree or by the most frequent label of each value.
    """

    section: type[Section]
    measure: Callable[[Array, Array, Array], Metric]
    signed: ClassVar[bool] = True
    ordered: ClassVar[bool] = False
    no_boosting: ClassVar[str] = ""
    infinite: ClassVar[bool] = False
    reliability: ClassVar[bool] = False
    leakage: ClassVar[Literal["auc", "rank", "tree", "mode"]]

    # ------------------------------------------------------------------ facts

    @property
    def name(self) -> str:
        """As the config calls it."""
        name: str = tags(self.section)[0]
        return name

    @property
    def main(self) -> str:
        """The one metric that stands for a task; larger is better."""
        return self.section.main

    # ------------------------------------------------------------ the network

    @abstractmethod
    def label(self, name: str, task: Section) -> Label:
        """An unfitted encoder of a task's label."""

    def common(self, name: str, task: Section) -> dict[str, Any]:
        """What every label is made of."""
        nulls = canonical_texts(task.null_values)
        return {"column": task.label or name, "task": name, "null_values": nulls}

    def output_bias(self, spec: TaskSpec) -> Tensor:
        """(o,) bias that makes an untrained tower predict the training rows' base rate."""
        import torch

        return self.start(torch.tensor(spec.prior)) if spec.prior else torch.zeros(spec.outputs)

    def start(self, prior: Tensor) -> Tensor:
        """(o,) outputs that predict the base rate, from `TaskSpec.prior`."""
        return prior

    def head_bias(self, spec: TaskSpec) -> Tensor:
        """(o,) where a head of mechanism `borrow` starts."""
        import torch

        return torch.zeros(spec.outputs)

    @abstractmethod
    def loss(self, task: Section) -> TaskLoss:
        """The loss that a task's section asks for."""

    @abstractmethod
    def predict(self, spec: TaskSpec, outputs: Tensor, labels: Tensor, scores: Scoring) -> Tensor:
        """What metrics judge, from a tower's outputs.

        Args:
            spec: of the task.
            outputs: (B, o) float32.
            labels: (B,) on the CPU, the true items where there are items.
            scores: of all items where there are any.

        Returns:
            (B,) or (B, C), before `Label.to_unit`.
        """

    def exported(
        self, name: str, outputs: Tensor, items: Callable[[], Tensor], top_k: int
    ) -> dict[str, Tensor]:
        """The outputs (B, o) of an exported program, by name.

        Args:
            name: of the task.
            outputs: of its tower.
            items: gives the (I, o) unit vectors of the items where there are any.
            top_k: items to name per row.
        """
        del items, top_k
        return {name: outputs}

    def compared(
        self, name: str, found: Mapping[str, Tensor], expected: Tensor, scores: Scoring
    ) -> list[tuple[Tensor, Tensor]]:
        """Pairs that are equal where an exported program says what the network says.

        Args:
            name: of the task.
            found: what the program says, by name.
            expected: (B, o) outputs of the network's tower.
            scores: of all items where there are any.
        """
        del scores
        return [(found[name], expected)]

    # ----------------------------------------------------------------- labels

    def compared_values(self, values: pl.Series, texts: pl.Series, event: str | None) -> pl.Series:
        """The label as the search of leaks compares it: its order, or what is equal, counts.

        Args:
            values: of the raw column.
            texts: the same as canonical texts.
            event: `Label.event`.
        """
        del event
        return values.cast(pl.Float64, strict=False) if self.ordered else texts

    # ---------------------------------------------------------------- metrics

    def judged(self, labels: Array, predictions: Array) -> Array:
        """Predictions (N, …) in the form that metrics take, where there are others too."""
        del labels
        return predictions

    @abstractmethod
    def metrics(
        self, labels: Array, predictions: Array, weights: Array, *, bins: int, top_k: Sequence[int]
    ) -> Metrics:
        """Every metric of the kind, in the order of its section.

        Args:
            labels: (N,).
            predictions: (N,) or (N, C), finite but for `infinite` kinds.
            weights: (N,), positive.
            bins: of the calibration error.
            top_k: the K of metrics at K.
        """

    @abstractmethod
    def score(self, labels: Sequence[Array], predictions: Sequence[Array]) -> Score:
        """The main metric of several models as a function of the rows' weights.

        Args:
            labels: (N,) of each model; only class and item indices may differ.
            predictions: (N,) or (N, C) of each model.
        """

    def calibration(
        self, labels: Array, predicted: Array, weights: Array, *, bins: int
    ) -> Weighing | None:
        """The calibration error as a function of the rows' weights; None: the kind has none.

        Args:
            labels: (N,).
            predicted: (N,) or (N, C).
            weights: (N,) by which the rows are put into bins.
            bins: most bins.
        """
        del labels, predicted, weights, bins
        return None

    # -------------------------------------------------------------- baselines

    @abstractmethod
    def constant(self, spec: TaskSpec, labels: Array, weights: Array, to_unit: ToUnit) -> Array:
        """The best prediction for all rows alike, in the form that metrics judge: (), or (C,).

        Args:
            spec: of the task.
            labels: (N,) training targets.
            weights: (N,), positive.
            to_unit: of the fitted label.
        """

    def boosting(self) -> tuple[Boosting, ...]:
        """The models of gradient boosting whose predictions make up the task's."""
        return (Boosting(None),)

    @abstractmethod
    def boosted(self, spec: TaskSpec, predicted: Sequence[Array], to_unit: ToUnit) -> Array:
        """(B,) or (B, C) predictions in the form that metrics judge.

        Args:
            spec: of the task.
            predicted: of each model: (B, C) probabilities of all classes, or (B,) values.
            to_unit: of the fitted label.
        """

    # --------------------------------------------------------------- transfer

    def classes(self, spec: TaskSpec) -> int:
        """Classes whose labels are counted one by one, to find scarce tasks; 1: no classes."""
        del spec
        return 1

    def class_of(self, labels: Tensor) -> Tensor:
        """(N,) int64 class of each known label, for kinds with classes."""
        return labels.long()

    def directions(self, outputs: Tensor) -> Tensor:
        """(B, o) outputs as an affinity compares them."""
        return outputs

    @abstractmethod
    def targets(self, spec: TaskSpec, labels: Tensor, items: Tensor | None) -> Tensor:
        """(B, o) what a linear probe of the input shall predict, of labels (B,) without NaN.

        Its mean less itself is the gradient of the loss at the base rate, up to a factor.

        Args:
            spec: of the task.
            labels: (B,), 0 where unlabelled.
            items: (I, o) unit vectors of the items where there are any.
        """


def weighted_shares(labels: Array, weights: Array, size: int) -> Array:
    """(size,) share of each class among labels (N,) of weights (N,)."""
    shares: Array = np.bincount(labels.astype(np.int64), weights, size) / weights.sum()
    return shares
