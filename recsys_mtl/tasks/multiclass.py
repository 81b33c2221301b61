"""Labels that are one of several classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import polars as pl
from scipy.special import softmax

from recsys_mtl.columns.canonical import canonical_texts, natural_order, require_category
from recsys_mtl.columns.lookup import Counts, Lookup
from recsys_mtl.columns.numbers import Floats
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.config.tasks import MulticlassConfig
from recsys_mtl.errors import wrong
from recsys_mtl.metrics import Metrics
from recsys_mtl.metrics import multiclass as of
from recsys_mtl.metrics.weighing import Array, Score, together
from recsys_mtl.tasks.kind import Kind, Scoring, ToUnit, weighted_shares
from recsys_mtl.tasks.label import Label, Labels, targets
from recsys_mtl.tasks.start import log_mean_exp, log_rates

if TYPE_CHECKING:
    from torch import Tensor

    from recsys_mtl.losses import TaskLoss


@dataclass
class MulticlassLabel(Label):
    """Index of the class.

    Attributes:
        classes: all classes; those of the training rows in natural order where none are given.
        rates: share of each class among the labelled training rows, by their weight.
    """

    kind: ClassVar[str] = "multiclass"
    classes: list[str] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    _counts: Counts = field(default_factory=Counts, init=False, repr=False, compare=False)

    @property
    def spec(self) -> TaskSpec:
        """A logit a class; its prior is the class's rate."""
        return TaskSpec(self.task, self.kind, len(self.classes), prior=tuple(self.rates))

    def update(self, values: pl.Series, rows: Rows) -> None:
        """Counts a chunk of training labels."""
        require_category(values, self.where)
        if self.classes:
            self.encode(values, rows)
        self._counts.update(values, rows.weights)

    def finish(self) -> None:
        """Ends the fit; a given class that never occurred has the rate of half a mean row."""
        counts = self._counts.ranked(without=self.null_values)
        if not counts:
            raise self.no_labels()
        if len(counts) == 1:
            raise self.one_class(next(iter(counts)))
        self.classes = self.classes or natural_order(counts)
        half = 0.5 * self._counts.mean_weight
        shares = np.array([counts.get(name, half) for name in self.classes])
        self.rates = (shares / shares.sum()).tolist()
        self._counts = Counts()

    def encode(self, values: pl.Series, rows: Rows) -> Labels:
        """(B,) class index, NaN where unlabelled."""
        codes = self.codes(values, self._lookup)
        value = self.outside(values, codes, rows)
        if value is not None:
            shown = ", ".join(self.classes[:12]) + (", …" if len(self.classes) > 12 else "")
            raise wrong(
                "label outside its classes",
                where=self.where,
                expected=f"one of: {shown}",
                found=value,
                fix=f"list all classes in tasks.{self.task}.classes, or add it to null_values",
            )
        return targets(codes)

    def columns(self, outputs: Floats) -> dict[str, Array]:
        """The likeliest class, and `TASK_probability_CLASS` for each class, from logits."""
        probabilities = softmax(outputs, axis=1)
        likeliest = np.array(self.classes)[probabilities.argmax(axis=1)]
        each = zip(self.classes, probabilities.T, strict=True)
        by_class = {f"{self.task}_probability_{name}": column for name, column in each}
        return {self.task: likeliest} | by_class

    def base_rate(self, constant: Array) -> dict[str, float]:
        """The share of each class."""
        return dict(zip(self.classes, constant.tolist(), strict=True))

    @property
    def categories(self) -> tuple[str, ...]:
        """The classes."""
        return tuple(self.classes)

    def reads_same(self, other: Self, ours: Array, theirs: Array) -> bool:
        """Whether the classes have the same names."""
        a, b = np.array(self.classes), np.array(other.classes)
        return bool((a[ours.astype(np.int64)] == b[theirs.astype(np.int64)]).all())

    @cached_property
    def _lookup(self) -> Lookup:
        return self.lookup({name: index for index, name in enumerate(self.classes)})


class Multiclass(Kind[MulticlassConfig]):
    """A logit a class; their softmax are the probabilities."""

    section = MulticlassConfig
    measure = staticmethod(of.mcfadden_r2)
    signed = False
    leakage = "tree"

    def label(self, name: str, task: MulticlassConfig) -> MulticlassLabel:
        """An unfitted encoder."""
        return MulticlassLabel(
            **self.common(name, task), classes=canonical_texts(task.classes or [])
        )

    def start(self, prior: Tensor) -> Tensor:
        """The logarithms of the rates."""
        return log_rates(prior)

    def loss(self, task: MulticlassConfig) -> TaskLoss:
        """Cross-entropy."""
        from recsys_mtl.losses import TaskLoss, pointwise

        weights = tuple(task.class_weights.get(name, 1.0) for name in task.classes or ())
        settings = (("class_weights", weights),) if task.class_weights else ()
        return TaskLoss(pointwise.cross_entropy, settings)

    def merged(self, outputs: Tensor) -> Tensor:
        """The logarithms of the mean probabilities."""
        return log_mean_exp(outputs.log_softmax(2))

    def predict(self, spec: TaskSpec, outputs: Tensor, labels: Tensor, scores: Scoring) -> Tensor:
        """(B, C) probabilities."""
        return outputs.softmax(dim=1)

    def metrics(
        self, labels: Array, predictions: Array, weights: Array, *, bins: int, top_k: Sequence[int]
    ) -> Metrics:
        """Of probabilities (N, C)."""
        rows = labels, predictions, weights
        return {
            "accuracy": of.accuracy(*rows),
            "macro_f1": of.macro_f1(*rows),
            "log_loss": of.log_loss(*rows),
            "ndcg_at_3": of.ndcg_at_3(*rows),
            "mcfadden_r2": of.mcfadden_r2(*rows),
        }

    def score(self, labels: Sequence[Array], predictions: Sequence[Array]) -> Score:
        """McFadden's R²."""
        pairs = zip(labels, predictions, strict=True)
        return together([of.prepare_mcfadden_r2(own, predicted) for own, predicted in pairs])

    def constant(self, spec: TaskSpec, labels: Array, weights: Array, to_unit: ToUnit) -> Array:
        """The shares of the classes."""
        return weighted_shares(labels, weights, spec.outputs)

    def boosted(self, spec: TaskSpec, predicted: Sequence[Array], to_unit: ToUnit) -> Array:
        """The probabilities."""
        return predicted[0]

    def classes(self, spec: TaskSpec) -> int:
        """One for each logit."""
        return spec.outputs

    def directions(self, outputs: Tensor) -> Tensor:
        """Minus the row's mean: a shift of all logits changes nothing."""
        return outputs - outputs.mean(1, keepdim=True)

    def targets(self, spec: TaskSpec, labels: Tensor, items: Tensor | None) -> Tensor:
        """The label's class, one-hot."""
        from torch.nn import functional as F

        return F.one_hot(labels.long(), spec.outputs).float()
