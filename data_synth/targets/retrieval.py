"""Labels that are an item out of many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat

from data_synth.response import Floats
from data_synth.targets.base import Array, Rng, TaskBase
from data_synth.targets.choice import ChoiceTarget

_TOP = (1, 5, 10)


@dataclass(frozen=True)
class ItemTarget(ChoiceTarget):
    """Items to retrieve: predictions are measured by the rank of the label."""

    kind: ClassVar[str] = "retrieval"
    dtype = np.int32
    metric = "mrr"

    def truth(self, linear: Array) -> None:
        """Only labels have ranks."""

    def oracle(self, linear: Array, labels: Array) -> Array:
        """(R,) ranks of the labels, NaN counts as item 0."""
        return np.asarray(self.ranks(linear, np.nan_to_num(labels).astype(np.int64)), np.float64)

    def guess(self, labels: Array) -> Array:
        """(R,) ranks of the labels by the marginal alone, NaN counts as item 0."""
        return np.asarray(self.constant_ranks(np.nan_to_num(labels).astype(np.int64)))

    def ranks(self, linear: Array, labels: Array) -> Array:
        """(R,) rank of the labels among all classes by probability, from 1."""
        order = np.argsort(-self._noisy(self.chances), axis=1, kind="stable")
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(1, order.shape[1] + 1)[None, :], axis=1)
        ranks: Array = rank[self.grid.nearest(np.asarray(linear) / self.slope), labels]
        return ranks

    def constant_ranks(self, labels: Array) -> Array:
        """(R,) rank of the labels by the marginal alone, from 1."""
        rank = np.empty(len(self.marginal))
        rank[np.argsort(-self.marginal, kind="stable")] = np.arange(1, len(rank) + 1)
        ranks: Array = rank[labels]
        return ranks

    def in_words(self, mean: float, shares: list[float]) -> str:
        """How many items."""
        return f"{len(shares) or 1} items"

    @staticmethod
    def measure(shares: Floats, chances: Floats, predicted: Floats) -> dict[str, float]:
        """Expected MRR and recall at K."""
        ordered = np.take_along_axis(chances, np.argsort(-predicted, axis=1), axis=1)
        rank = np.arange(1, ordered.shape[1] + 1)
        recalls = {f"recall_at_{k}": float(shares @ ordered[:, :k].sum(axis=1)) for k in _TOP}
        return {"mrr": float(shares @ (ordered / rank).sum(axis=1))} | recalls


class RetrievalTask(TaskBase):
    """An item out of many, by the same model as multiclass."""

    kind: Literal["retrieval"]
    items: Annotated[int, Field(ge=2, le=10_000)] = Field(description="number of items")
    signal: PositiveFloat = Field(2.0, description="standard deviation of the items' logits")
    zipf: Annotated[float, Field(ge=0.0, le=2.0)] = Field(
        1.0, description="exponent of the items' frequencies"
    )

    target = ItemTarget

    def fit(self, counts: Array, rng: Rng) -> ItemTarget:
        """Draws the weights."""
        noise = self.label_noise
        return ItemTarget.fit(
            counts, classes=self.items, zipf=self.zipf, signal=self.signal, noise=noise, rng=rng
        )

    def trained(self) -> dict[str, object]:
        """Narrow embeddings."""
        return super().trained() | {"dim": 32}
