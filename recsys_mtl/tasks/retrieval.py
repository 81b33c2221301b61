"""Labels that are items to be found."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import ClassVar

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from recsys_mtl.columns.canonical import require_category
from recsys_mtl.columns.lookup import Counts, Lookup
from recsys_mtl.columns.numbers import Floats
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.tasks.label import Label, Labels, targets


@dataclass
class RetrievalLabel(Label):
    """Index of the item, from 1; an item outside the vocabulary is item 0, the unknown one.

    Nothing can be learnt from an unknown item, so training leaves such rows out; it cannot be found
    either, so evaluation counts them as misses.

    Attributes:
        dim: width of query and item embeddings.
        max_items: so many of the most frequent items are kept.
        items: the vocabulary, by falling count, equal counts by text; the first has index 1.
    """

    kind: ClassVar[str] = "retrieval"
    dim: int = 1
    max_items: int = 1
    items: list[str] = field(default_factory=list)
    _counts: Counts = field(default_factory=Counts, init=False, repr=False, compare=False)

    @property
    def spec(self) -> TaskSpec:
        """A query embedding and the item table's rows."""
        return TaskSpec(self.task, "retrieval", self.dim, items=1 + len(self.items))

    def update(self, values: pl.Series, rows: Rows) -> None:
        """Counts a chunk of training labels."""
        require_category(values, self.where)
        self._counts.update(values)

    def finish(self) -> None:
        """Keeps the most frequent items."""
        self.items = list(islice(self._counts.ranked(without=self.null_values), self.max_items))
        if not self.items:
            raise self.no_labels()
        self._counts = Counts()

    def encode(self, values: pl.Series, rows: Rows) -> Labels:
        """(B,) item index, 0 outside the vocabulary, NaN where unlabelled."""
        return targets(self.codes(values, self._lookup))

    def decode(self, outputs: Floats, *, top_k: int) -> pl.DataFrame:
        """The best items of each row and their scores, as lists, from (B, items) scores."""
        known = torch.from_numpy(outputs)[:, 1:]
        scores, places = known.topk(min(top_k, known.shape[1]))
        return self.name_items(1 + places.numpy(), scores.numpy())

    def name_items(self, items: NDArray[np.int64], scores: NDArray[np.floating]) -> pl.DataFrame:
        """Columns of predictions from (B, k) item indices (none of them 0) and their scores."""
        names = pl.Series(self.items).gather(items.ravel() - 1)
        return pl.DataFrame(
            {
                self.task: names.reshape(items.shape).arr.to_list(),
                f"{self.task}.score": scores.tolist(),
            },
            schema_overrides={f"{self.task}.score": pl.List(pl.Float64)},
        )

    @cached_property
    def _lookup(self) -> Lookup:
        return self.lookup({item: index for index, item in enumerate(self.items, 1)}, unknown=0)
