"""Labels that are one of several classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, PositiveFloat
from scipy.special import xlogy

from data_synth.response import Floats
from data_synth.targets.base import Array, Rng, TaskBase
from data_synth.targets.choice import ChoiceTarget


@dataclass(frozen=True)
class ClassTarget(ChoiceTarget):
    """Classes that have names."""

    kind: ClassVar[str] = "multiclass"
    dtype = np.int16
    metric = "accuracy"

    @property
    def names(self) -> list[str]:
        """Of the classes, in the order of the weights."""
        return [f"class_{index:03}" for index in range(len(self.weights))]

    def as_arrow(self, labels: pa.Array) -> pa.Array:
        """Names, as dictionaries."""
        return pa.DictionaryArray.from_arrays(labels, pa.array(self.names))

    def index(self, labels: pa.Array) -> pa.Array:
        """From names."""
        return pc.index_in(labels.cast(pa.string()), pa.array(self.names))

    def in_words(self, mean: float, shares: list[float]) -> str:
        """How many classes, and the shares of the largest and the smallest."""
        largest, smallest = (shares[0], shares[-1]) if shares else (float("nan"), float("nan"))
        return f"{len(shares) or 1}: {largest:.0%} … {smallest:.0%}"

    @staticmethod
    def measure(shares: Floats, chances: Floats, predicted: Floats) -> dict[str, float]:
        """Expected accuracy and log loss."""
        best = np.take_along_axis(chances, predicted.argmax(axis=1)[:, None], axis=1)[:, 0]
        return {
            "accuracy": float(shares @ best),
            "log_loss": -float(shares @ xlogy(chances, predicted).sum(axis=1)),
        }


class MulticlassTask(TaskBase):
    """One of several classes, by a softmax over one score (stereotype model, Anderson 1984)."""

    kind: Literal["multiclass"]
    classes: Annotated[int, Field(ge=2, le=1000)] = Field(description="number of classes")
    signal: PositiveFloat = Field(1.5, description="standard deviation of the classes' logits")
    zipf: Annotated[float, Field(ge=0.0, le=2.0)] = Field(
        0.5, description="exponent of the classes' frequencies"
    )

    target = ClassTarget

    def fit(self, counts: Array, rng: Rng) -> ClassTarget:
        """Draws the weights."""
        noise = self.label_noise
        return ClassTarget.fit(
            counts, classes=self.classes, zipf=self.zipf, signal=self.signal, noise=noise, rng=rng
        )
