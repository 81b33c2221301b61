"""Labels that are items to retrieve."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.canonical import require_category
from recsys_mtl.columns.categories import Categories
from recsys_mtl.columns.coder import FIRST_ROW, NULL_ROW
from recsys_mtl.columns.lookup import Counts, Lookup
from recsys_mtl.columns.numbers import Floats
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.columns.vocabulary import Vocabulary
from recsys_mtl.config.tasks import RetrievalConfig
from recsys_mtl.metrics import Metrics
from recsys_mtl.metrics import retrieval as of
from recsys_mtl.metrics.weighing import Array, Score, together
from recsys_mtl.tasks.kind import Kind, Scoring, ToUnit, weighted_shares
from recsys_mtl.tasks.label import UNLABELLED, Label, Labels, Table

if TYPE_CHECKING:
    from torch import Tensor

    from recsys_mtl.losses import TaskLoss

_SCORES_AT_ONCE = 8_000_000  # numbers of a (rows, items) score matrix held at once
_OF_RESERVED = np.zeros(FIRST_ROW, np.int64)  # item of a reserved row of a shared table
_OF_RESERVED[NULL_ROW] = UNLABELLED


@dataclass
class RetrievalLabel(Label):
    """Index of the item, from 1; an item outside the vocabulary is item 0, the unknown one.

    Training leaves out rows with an unknown item; evaluation counts them as misses.

    Attributes:
        dim: width of query and item embeddings.
        max_items: number of items that are kept, those of the most weight.
        items: the vocabulary, by falling weight, equal weights by text; the first has index 1.
        table: of features, whose vocabulary is the catalogue instead; empty: none.
        frequencies: training rows of each item; items that were added since have none.
    """

    kind: ClassVar[str] = "retrieval"
    has_items: ClassVar[bool] = True
    dim: int = 1
    max_items: int = 1
    items: list[str] = field(default_factory=list)
    table: str = ""
    frequencies: list[int] = field(default_factory=list)
    _counts: Counts = field(default_factory=Counts, init=False, repr=False, compare=False)
    _shared: Table | None = field(default=None, init=False, repr=False, compare=False)

    def link(self, tables: Mapping[str, Table]) -> None:
        """Takes the table whose vocabulary is the catalogue."""
        self._shared = tables[self.table] if self.table else None

    @property
    def spec(self) -> TaskSpec:
        """A query embedding and the item table's rows."""
        return TaskSpec(
            self.task,
            self.kind,
            self.dim if self._shared is None else self._shared.dim,
            items=1 + len(self.catalogue),
            table=self.table,
            frequencies=self.frequencies,
        )

    @property
    def catalogue(self) -> list[str]:
        """The items in the order of their indices, from 1."""
        coder = None if self._shared is None else self._shared.coder
        if isinstance(coder, Categories):
            return coder.values if isinstance(coder, Vocabulary) else coder.texts().to_list()
        return self.items

    def update(self, values: pl.Series, rows: Rows) -> None:
        """Counts a chunk of training labels."""
        require_category(values, self.where)
        self._counts.update(values, rows.weights)
        if self._shared is not None:
            self._shared.coder.update(values, rows.weights)

    def finish(self) -> None:
        """Keeps the most frequent items, or those that the shared table keeps."""
        ranked = self._counts.ranked(without=self.null_values)
        if self._shared is None:
            self.items = list(ranked)[: self.max_items]
        known = [item for item in self.catalogue if item in ranked]
        if not known:
            raise self.no_labels()
        rows = dict(zip(known, self._counts.rows_of(known), strict=True))
        self.frequencies = [rows.get(item, 0) for item in self.catalogue]
        self._counts = Counts()

    def encode(self, values: pl.Series, rows: Rows) -> Labels:
        """(B,) item index, 0 outside the vocabulary, NaN where unlabelled."""
        if self._shared is None:
            codes = self.codes(values, self._lookup)
        else:
            require_category(values, self.where)
            of_table = self._shared.coder.codes(values)
            codes = np.where(of_table < FIRST_ROW, _OF_RESERVED[of_table % FIRST_ROW], of_table - 1)
        return np.where(codes < 0, np.nan, codes.astype(np.float64))

    def decode(self, outputs: Floats, *, top_k: int) -> pl.DataFrame:
        """The best items of each row and their scores, as lists, from (B, items) scores."""
        import torch

        known = torch.from_numpy(outputs)[:, 1:]
        scores, indices = known.topk(min(top_k, known.shape[1]))
        return self.name_items(1 + indices, scores)

    def frame(self, outputs: Tensor, items: Callable[[], Tensor], *, top_k: int) -> pl.DataFrame:
        """The nearest items, in steps of rows that bound the memory of the scores."""
        import torch

        table = items()
        step = max(1, _SCORES_AT_ONCE // (len(table) - 1))
        best = [nearest(queries, table, top_k) for queries in torch.split(outputs, step)]
        indices, scores = zip(*best, strict=True)
        return self.name_items(torch.cat(indices), torch.cat(scores))

    def name_items(self, items: Tensor, scores: Tensor) -> pl.DataFrame:
        """Columns of predictions from (B, k) item indices (none of them 0) and their scores."""
        indices, column = items.cpu().numpy(), f"{self.task}_scores"
        names = pl.Series(self.catalogue).gather(indices.ravel() - 1)
        return pl.DataFrame(
            {
                self.task: names.reshape(indices.shape).arr.to_list(),
                column: scores.cpu().numpy().tolist(),
            },
            schema_overrides={column: pl.List(pl.Float64)},
        )

    def base_rate(self, constant: Array) -> dict[str, float]:
        """The shares of the most frequent item, and of items outside the vocabulary."""
        return {"most frequent": float(constant[1:].max()), "unknown": float(constant[0])}

    def tracked(self, predictions: pl.DataFrame) -> pl.Series:
        """The best item's score."""
        return predictions[f"{self.task}_scores"].list.first()

    def reads_same(self, other: Self, ours: Array, theirs: Array) -> bool:
        """Whether the items are the same; those that either catalogue lacks are misses."""
        both = (ours > 0) & (theirs > 0)
        a, b = np.array(self.catalogue), np.array(other.catalogue)
        return bool(
            (a[ours[both].astype(np.int64) - 1] == b[theirs[both].astype(np.int64) - 1]).all()
        )

    def kept(self, parent: Self, *, grow: bool) -> Self:
        """These items and behind them the parent's others, up to `max_items`."""
        if not grow or self.table:
            return self
        known = set(self.items)
        more = [item for item in parent.items if item not in known]
        return replace(self, items=[*self.items, *more][: self.max_items])

    def same_items(self, other: Label) -> NDArray[np.int64]:
        """(items,) 0, the unknown item, is the same."""
        assert isinstance(other, RetrievalLabel)
        index = {item: i for i, item in enumerate(other.items, 1)}
        return np.array([0, *(index.get(item, -1) for item in self.items)])

    def remark(self, champion: Self) -> str:
        """Catalogues of unequal size."""
        ours, theirs = len(self.catalogue), len(champion.catalogue)
        if ours == theirs:
            return ""
        return f"{ours:,} items can be retrieved, the champion's catalogue has {theirs:,}."

    @cached_property
    def _lookup(self) -> Lookup:
        return self.lookup({item: index for index, item in enumerate(self.items, 1)}, unknown=0)


class Retrieval(Kind[RetrievalConfig]):
    """A unit query; items are ranked by its cosine with their vectors."""

    section = RetrievalConfig
    measure = staticmethod(lambda labels, ranks, weights: of.mrr(ranks, weights))
    signed = False
    no_boosting = "gradient boosting does not rank a catalogue of items"
    infinite = True
    leakage = "mode"

    def label(self, name: str, task: RetrievalConfig) -> RetrievalLabel:
        """An unfitted encoder."""
        common = self.common(name, task) | {"table": task.table or ""}
        return RetrievalLabel(**common, dim=task.dim, max_items=task.max_items)

    def loss(self, task: RetrievalConfig) -> TaskLoss:
        """InfoNCE."""
        from recsys_mtl.losses import ItemLoss, pointwise

        settings = (("temperature", task.temperature),)
        return ItemLoss(pointwise.info_nce, settings, corrected=task.logq_correction)

    def merged(self, outputs: Tensor) -> Tensor:
        """The mean query, of length 1: its scores rank items as the mean scores do."""
        from torch.nn import functional as F

        return F.normalize(outputs.mean(0), dim=-1)

    def predict(self, spec: TaskSpec, outputs: Tensor, labels: Tensor, scores: Scoring) -> Tensor:
        """(B,) ranks of the true items in the full catalogue, NaN where unlabelled."""
        import torch

        ranks = torch.full(labels.shape, torch.nan)
        rows = torch.nonzero(~labels.isnan()).flatten()
        for some in torch.split(rows, max(1, _SCORES_AT_ONCE // spec.items)):
            of_items = scores(outputs[some.to(outputs.device)])
            true_ranks = of.true_item_ranks(of_items.cpu().numpy(), labels[some].numpy())
            ranks[some] = torch.as_tensor(true_ranks, dtype=torch.float32)
        return ranks

    def for_metrics(self, labels: Array, predictions: Array) -> Array:
        """Scores (N, I) as ranks (N,)."""
        return of.true_item_ranks(predictions, labels) if predictions.ndim == 2 else predictions

    def metrics(
        self, labels: Array, predictions: Array, weights: Array, *, bins: int, top_k: Sequence[int]
    ) -> Metrics:
        """Of ranks (N,)."""
        metrics: Metrics = {
            f"recall_at_{k}": of.recall_at_k(predictions, weights, k=k) for k in top_k
        }
        return metrics | {"mrr": of.mrr(predictions, weights)}

    def score(self, labels: Sequence[Array], predictions: Sequence[Array]) -> Score:
        """The mean reciprocal rank."""
        return together([of.prepare_mrr(ranks) for ranks in predictions])

    def constant(self, spec: TaskSpec, labels: Array, weights: Array, to_unit: ToUnit) -> Array:
        """The items' popularity."""
        return weighted_shares(labels, weights, spec.items)

    def boosted(self, spec: TaskSpec, predicted: Sequence[Array], to_unit: ToUnit) -> Array:
        """Not defined, see `no_boosting`."""
        raise NotImplementedError(self.no_boosting)

    def targets(self, spec: TaskSpec, labels: Tensor, items: Tensor | None) -> Tensor:
        """The true item's vector."""
        assert items is not None
        return items[labels.long()]

    def exported(
        self, name: str, outputs: Tensor, items: Callable[[], Tensor], top_k: int
    ) -> dict[str, Tensor]:
        """The query, and the best items and their scores."""
        best, scores = nearest(outputs, items(), top_k)
        return {name: outputs, f"{name}.items": best, f"{name}.scores": scores}

    def compared(
        self, name: str, exported: Mapping[str, Tensor], expected: Tensor, scores: Scoring
    ) -> list[tuple[Tensor, Tensor]]:
        """Also the best scores, and the scores of the items in the output."""
        best, every = exported[f"{name}.scores"], scores(expected)
        return [
            (exported[name], expected),
            (best, every[:, 1:].topk(best.shape[1]).values),
            (every.gather(1, exported[f"{name}.items"]), best),
        ]


def nearest(queries: Tensor, items: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """(B, k) indices of the nearest items, best first, without item 0, and their scores."""
    known = items[1:]
    scores, indices = (queries @ known.T).topk(min(top_k, known.shape[0]))
    return 1 + indices, scores
