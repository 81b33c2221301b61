"""`Kind`: base of the kinds of tasks.

A kind has no state. What is fitted on the training rows is its `Label`. Importing a kind does not
import torch, so jobs that only read results start fast: methods import what they need.

Shapes: B rows, o outputs of the task's tower, N labelled rows of a data set, C classes, I items.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
import polars as pl

from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.columns.spelling import null_texts
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
"""From targets, or from the result of `Kind.predict`, to the label's own unit."""
Scoring = Callable[["Tensor"], "Tensor"]
"""(B, o) queries to (B, I) scores of all items."""


@dataclass(frozen=True)
class Boosting:
    """A gradient boosting model of a baseline.

    Attributes:
        loss: of a regressor; None is a classifier.
        target: from the labels to what it learns.
    """

    loss: str | None
    target: Callable[[Array], Array] = lambda labels: labels


class Kind(ABC, Generic[Section]):
    """A kind of task.

    Attributes:
        section: its section in the config, which also names its metrics.
        measure: the main metric, of labels (N,), predictions (N,) or (N, C) and weights (N,). With
            true probabilities or means as labels it is the metric against the truth.
        signed: one output per row: two such tasks can agree or disagree.
        ordered: labels are numbers whose order means something.
        no_boosting: why gradient boosting cannot predict it; empty where it can.
        infinite: whether a prediction may be infinite (the rank of a miss).
        reliability: whether predictions are probabilities of one event, comparable with its share.
        leakage: how a feature that determines the label is detected: AUC, rank correlation, or
            accuracy by a shallow tree or by the most frequent label of each value.
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
        """Its name in the config."""
        name: str = tags(self.section)[0]
        return name

    @property
    def main(self) -> str:
        """The main metric of a task; larger is better."""
        return self.section.main

    # ------------------------------------------------------------ the network

    @abstractmethod
    def label(self, name: str, task: Section) -> Label:
        """An unfitted encoder of a task's label."""

    def common(self, name: str, task: Section) -> dict[str, Any]:
        """Arguments of every label."""
        nulls = null_texts(task.null_values)
        return {"column": task.label or name, "task": name, "null_values": nulls}

    def output_bias(self, spec: TaskSpec) -> Tensor:
        """(o,) bias that makes an untrained tower predict the training rows' base rate."""
        import torch

        return self.start(torch.tensor(spec.prior)) if spec.prior else torch.zeros(spec.outputs)

    def start(self, prior: Tensor) -> Tensor:
        """(o,) outputs that predict the base rate, from `TaskSpec.prior`."""
        return prior

    def head_bias(self, spec: TaskSpec) -> Tensor:
        """(o,) initial bias of a head of mechanism `borrow`."""
        import torch

        return torch.zeros(spec.outputs)

    @abstractmethod
    def loss(self, task: Section) -> TaskLoss:
        """The loss that a task's section names."""

    @abstractmethod
    def predict(self, spec: TaskSpec, outputs: Tensor, labels: Tensor, scores: Scoring) -> Tensor:
        """Predictions for metrics, from a tower's outputs.

        Args:
            spec: of the task.
            outputs: (B, o) float32.
            labels: (B,) on the CPU, the true items of a task with items.
            scores: of all items, for a task with items.

        Returns:
            (B,) or (B, C), before `Label.to_unit`.
        """

    def merged(self, outputs: Tensor) -> Tensor:
        """(k, B, o) outputs of k members to the (B, o) of their mean prediction, in float32."""
        return outputs.mean(0)

    def exported(
        self, name: str, outputs: Tensor, items: Callable[[], Tensor], top_k: int
    ) -> dict[str, Tensor]:
        """The outputs (B, o) of an exported program, by name.

        Args:
            name: of the task.
            outputs: of its tower.
            items: gives the (I, o) unit vectors of the items, for a task with items.
            top_k: items to name per row.
        """
        del items, top_k
        return {name: outputs}

    def compared(
        self, name: str, exported: Mapping[str, Tensor], expected: Tensor, scores: Scoring
    ) -> list[tuple[Tensor, Tensor]]:
        """Pairs that are equal where an exported program gives the network's outputs.

        Args:
            name: of the task.
            exported: outputs of the program, by name.
            expected: (B, o) outputs of the network's tower.
            scores: of all items, for a task with items.
        """
        del scores
        return [(exported[name], expected)]

    # ----------------------------------------------------------------- labels

    def compared_values(
        self, values: pl.Series, texts: pl.Series, events: tuple[str, ...]
    ) -> pl.Series:
        """The label as the leakage check compares it, by order or by equality.

        Args:
            values: of the raw column.
            texts: the same as canonical texts.
            events: `Label.events`.
        """
        del events
        return values.cast(pl.Float64, strict=False) if self.ordered else texts

    # ---------------------------------------------------------------- metrics

    def for_metrics(self, labels: Array, predictions: Array) -> Array:
        """Predictions (N, …) in the form that `metrics` takes."""
        del labels
        return predictions

    @abstractmethod
    def metrics(
        self, labels: Array, predictions: Array, weights: Array, *, bins: int, top_k: Sequence[int]
    ) -> Metrics:
        """Every metric of the kind, in the order of its section.

        Args:
            labels: (N,).
            predictions: (N,) or (N, C), finite except for `infinite` kinds.
            weights: (N,), positive.
            bins: of the calibration error.
            top_k: the K of metrics at K.
        """

    def ranked_by(self, predictions: Array) -> Array:
        """(N,) the numbers that rows of a list are ranked by, from predictions (N, …)."""
        return predictions

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
        """The best constant prediction, in the form that metrics take: (), or (C,).

        Args:
            spec: of the task.
            labels: (N,) training targets.
            weights: (N,), positive.
            to_unit: of the fitted label.
        """

    def boosting(self) -> tuple[Boosting, ...]:
        """The models of gradient boosting whose predictions form the task's."""
        return (Boosting(None),)

    @abstractmethod
    def boosted(self, spec: TaskSpec, predicted: Sequence[Array], to_unit: ToUnit) -> Array:
        """(B,) or (B, C) predictions in the form that metrics take.

        Args:
            spec: of the task.
            predicted: of each model: (B, C) probabilities of all classes, or (B,) values.
            to_unit: of the fitted label.
        """

    # --------------------------------------------------------------- transfer

    def classes(self, spec: TaskSpec) -> int:
        """Number of classes, whose labels are counted to detect scarce tasks; 1: no classes."""
        del spec
        return 1

    def class_of(self, labels: Tensor) -> Tensor:
        """(N,) int64 class of each known label, for kinds with classes."""
        return labels.long()

    def label_counts(self, spec: TaskSpec, labels: Tensor) -> Tensor:
        """(C,) of each class among known labels (N,); their number (1,) without classes."""
        import torch

        classes = self.classes(spec)
        if classes == 1:
            return torch.tensor([len(labels)], device=labels.device)
        return torch.bincount(self.class_of(labels), minlength=classes)

    def directions(self, outputs: Tensor) -> Tensor:
        """(B, o) outputs as an affinity compares them."""
        return outputs

    @abstractmethod
    def targets(self, spec: TaskSpec, labels: Tensor, items: Tensor | None) -> Tensor:
        """(B, o) targets of a linear probe of the input, from labels (B,) without NaN.

        Their mean minus themselves is the gradient of the loss at the base rate, up to a factor.

        Args:
            spec: of the task.
            labels: (B,), 0 where unlabelled.
            items: (I, o) unit vectors of the items, for a task with items.
        """


def weighted_shares(labels: Array, weights: Array, size: int) -> Array:
    """(size,) share of each class among labels (N,) of weights (N,)."""
    shares: Array = np.bincount(labels.astype(np.int64), weights, size) / weights.sum()
    return shares
