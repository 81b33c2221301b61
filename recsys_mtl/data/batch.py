"""`Batch`: encoded rows as tensors, the only form in which data reaches the network.

Shapes: B rows, T tasks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from recsys_mtl.features.block import FeatureBlock, ItemIds, take

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """Encoded rows, their features by name.

    Attributes:
    blocks: the features' values by layout, see `recsys_mtl.features.block`.
    labels: (B, T) float32 targets as `Label.encode` gives them, NaN where unlabelled. Indices of
        items are rounded from 2^24 on: `items` and `targets` have them as they are.
    weights: (B,) float32, not negative.
    keys: (B, K) int64 as `Preprocessor.keys` encodes them, for evaluation; None: no keys.
    padding: last rows that stand for none, see `padding`.
    """

    blocks: Mapping[str, FeatureBlock]
    labels: Tensor
    weights: Tensor
    keys: Tensor | None = None
    padding: int = 0

    def __getitem__(self, feature: str) -> Any:
        """A feature's values, in the form that its block holds them.

        Raises:
            KeyError: there is no such feature.
        """
        for block in self.blocks.values():
            if feature in block.names:
                return block[feature]
        raise KeyError(feature)

    def items(self, column: int, task: str) -> Tensor:
        """(B,) int64 item of each row, of a task whose labels are that column; 0 where it has none.

        Rows without a block of items are small ones, made by hand.
        """
        block = self.blocks.get(ItemIds.layout)
        if isinstance(block, ItemIds) and task in block.names:
            return block[task]
        return self.labels[:, column].nan_to_num(0).long()

    def targets(self, column: int, task: str) -> Tensor:
        """(B,) labels of a task, NaN where unlabelled; indices of items in float64."""
        labels = self.labels[:, column]
        block = self.blocks.get(ItemIds.layout)
        if block is None or task not in block.names:
            return labels
        return torch.where(labels.isnan(), torch.nan, self.items(column, task).double())

    @property
    def num_rows(self) -> int:
        """B."""
        return self.weights.shape[0]

    @property
    def real_rows(self) -> int:
        """Rows without padding."""
        return self.num_rows - self.padding

    @property
    def num_bytes(self) -> int:
        """Bytes of all tensors."""
        keys = () if self.keys is None else (self.keys,)
        return sum(t.numel() * t.element_size() for t in (*self.tensors(), *keys))

    def select(self, rows: Tensor) -> Batch:
        """The given rows in the given order; `rows` is (B',) int64. On the CPU."""
        return Batch(
            {layout: block.select(rows) for layout, block in self.blocks.items()},
            labels=take(self.labels, rows),
            weights=take(self.weights, rows),
            keys=None if self.keys is None else take(self.keys, rows),
        )

    def gather(self, rows: Tensor, there: Tensor, totals: Mapping[str, Sequence[int]]) -> Batch:
        """The same as `select`, on any device, which it does not wait for.

        Args:
            rows: (B',) int64, on the CPU.
            there: the same on the device.
            totals: by layout of lists, the entries of each list in these rows together.
        """
        return Batch(
            {name: b.gather(there, totals.get(name, ())) for name, b in self.blocks.items()},
            labels=self.labels.index_select(0, there),
            weights=self.weights.index_select(0, there),
            keys=None if self.keys is None else take(self.keys, rows),
        )

    def mixed(self, names: Collection[str], other: Batch) -> Batch:
        """The same rows, with those features (no labels) of another batch, as long. On the CPU."""
        blocks = {
            layout: block if layout == ItemIds.layout else block.mixed(names, other.blocks[layout])
            for layout, block in self.blocks.items()
        }
        return replace(self, blocks=blocks)

    def head(self, count: int, layouts: Collection[str]) -> Batch:
        """The first rows, on any device, of the given blocks alone."""
        return Batch(
            {name: block.head(count) for name, block in self.blocks.items() if name in layouts},
            labels=self.labels[:count],
            weights=self.weights[:count],
        )

    def to(self, device: torch.device) -> Batch:
        """The same rows on another device; keys stay."""
        if device == self.weights.device:
            return self
        return self.changed(lambda tensor: moved(tensor, device))

    def tensors(self) -> Iterator[Tensor]:
        """All tensors that a device gets."""
        for block in self.blocks.values():
            yield from block.tensors().values()
        yield from (self.labels, self.weights)

    def changed(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The same rows, every tensor as `change` gives it; keys stay."""
        blocks = {
            layout: block.with_tensors(map(change, block.tensors().values()))
            for layout, block in self.blocks.items()
        }
        labels, weights = change(self.labels), change(self.weights)
        return Batch(blocks, labels, weights, self.keys, self.padding)


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """On the device; a copy to a GPU is from pinned memory, which nothing waits for."""
    pins = device.type == "cuda" and tensor.device.type == "cpu"
    return (pinned(tensor) if pins else tensor).to(device, non_blocking=True)


def pinned(tensor: Tensor) -> Tensor:
    """The same in memory that a GPU copies from while the host works, if there is some left."""
    try:
        return tensor if tensor.is_pinned() else tensor.pin_memory()
    except RuntimeError as error:
        _no_pinned_memory(str(error).splitlines()[0])
        return tensor


@cache
def _no_pinned_memory(reason: str) -> None:
    """Warn, once."""
    _log.warning("batches are not pinned in memory, and copied slower: %s", reason)


def padding(batch: Batch) -> Batch:
    """The same number of rows, at least one, that stand for none: without weight or label."""
    return replace(
        batch,
        labels=torch.full_like(batch.labels, torch.nan),
        weights=torch.zeros_like(batch.weights),
        padding=batch.num_rows,
    )


def never_empty(batch: Batch) -> Batch:
    """The batch; where it has no rows, one that stands for none."""
    if batch.num_rows:
        return batch
    blocks = {
        layout: block.with_tensors(
            tensor if "." in name else tensor.new_zeros(1, *tensor.shape[1:])
            for name, tensor in block.tensors().items()
        )
        for layout, block in batch.blocks.items()
    }
    labels = batch.labels.new_zeros(1, *batch.labels.shape[1:])
    return padding(Batch(blocks, labels, batch.weights.new_zeros(1)))


def concat(batches: Sequence[Batch]) -> Batch:
    """One batch of all rows, in order; `batches` is not empty and all have the same columns."""
    first, *others = batches
    if not others:
        return first
    keys = [batch.keys for batch in batches if batch.keys is not None]
    return Batch(
        {
            layout: block.concat([other.blocks[layout] for other in others])
            for layout, block in first.blocks.items()
        },
        labels=torch.cat([b.labels for b in batches]),
        weights=torch.cat([b.weights for b in batches]),
        keys=torch.cat(keys) if keys else None,
    )
