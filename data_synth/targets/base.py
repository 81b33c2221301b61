"""Base classes of the kinds of labels: the section of a plan, and the target made from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from data_synth.grid import Grid
from data_synth.response import Floats
from recsys_mtl.config.section import Fraction, Section

Rng = np.random.Generator
Array = NDArray[Any]
Open = Annotated[float, Field(gt=0.0, lt=1.0)]
Metrics = dict[str, dict[str, float]]


class Target(ABC):
    """A task's label given its score: drawn, predicted by an oracle, and measured.

    A score f has mean 0 and variance 1 over all rows; the true linear predictor eta (a logit where
    the label is binary) is an affine function of it.

    Attributes:
        kind: the trainer's name of the kind.
        grid: that its scores are counted on.
        dtype: of drawn labels.
        metric: the one that describes what is reachable.
        averaged: whether a mean of labels means something.
    """

    kind: ClassVar[str]
    grid: ClassVar[Grid]
    dtype: ClassVar[type[np.generic]]
    metric: ClassVar[str]
    averaged: ClassVar[bool] = False

    @abstractmethod
    def linear(self, scores: Array) -> Array:
        """(R,) eta."""

    @abstractmethod
    def draw(self, scores: Array, rng: Rng) -> Array:
        """(R,) labels."""

    @abstractmethod
    def predict(self, linear: Array) -> Floats:
        """Predictions of an oracle for the observed label, noise included.

        (R,) probabilities or expected values, or (R, C) probabilities of classes, of (R,) eta.
        """

    @abstractmethod
    def constant(self) -> Floats:
        """The best constant prediction: one row of `predict`."""

    @abstractmethod
    def metrics(self, counts: Array) -> Metrics:
        """Expected metrics of both predictions, {"oracle": …, "constant": …}."""

    @abstractmethod
    def in_words(self, mean: float, shares: list[float]) -> str:
        """Its labels in a few words, from their mean and the shares of their values."""

    def truth(self, linear: Array) -> Array | None:
        """Values used as labels in metrics against the truth; None: the labels themselves."""
        return self.predict(linear)

    def oracle(self, linear: Array, labels: Array) -> Array:
        """(R, …) `predict`, in the form that the trainer's metrics take."""
        del labels
        return self.predict(linear)

    def guess(self, labels: Array) -> Array:
        """(R, …) `constant` for every row, in the form that the trainer's metrics take."""
        constant = self.constant()
        return np.broadcast_to(constant, (len(labels), *constant.shape))

    def as_arrow(self, labels: pa.Array) -> pa.Array:
        """Drawn labels as a column of the rows."""
        return labels

    def index(self, labels: pa.Array) -> pa.Array:
        """A column of the rows as drawn labels."""
        return labels


class TaskBase(Section):
    """Settings of every task.

    Attributes:
        target: class of its target.
    """

    target: ClassVar[type[Target]]

    labelled: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        1.0, description="share of the rows that carry the label, at random"
    )
    label_noise: Fraction = Field(
        0.0, description="share of the labels that are drawn with another row's score"
    )
    only_after: str | None = Field(
        None, description="binary task whose positives alone have this label (a funnel)"
    )

    @abstractmethod
    def fit(self, counts: Array, rng: Rng) -> Target:
        """The target whose labels have the planned rates.

        Args:
            counts: (weighted) of the scores, on the target's grid.
            rng: for what is drawn.
        """

    def trained(self) -> dict[str, object]:
        """The task's section in a training's config."""
        return {"kind": self.target.kind}


def with_noise(scores: Array, share: float, rng: Rng) -> Array:
    """The scores that labels are drawn from; a share of rows takes another row's."""
    if share == 0.0:
        return scores
    others = rng.permutation(scores)
    return np.where(rng.random(len(scores)) < share, others, scores)
