"""`Batch`: encoded rows as tensors, the only form in which data reaches the network.

Shapes: B rows, C single-valued categorical features, M list-valued ones, N numeric columns after
encoding (indicators and piecewise bins included), T tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Encoded rows.

    Attributes:
        numeric: (B, N) float32, finite.
        ids: (B, C) int64; every id is within its table (0 is the unknown row).
        list_ids: M tensors of (total length,) int64, the lists of all rows one after another.
        list_lengths: (B, M) int64, the length of each list.
        labels: (B, T) float32, NaN where unlabelled; a class or item index for multiclass and
            retrieval, the transformed target for regression.
        weights: (B,) float32, not negative.
    """

    numeric: Tensor
    ids: Tensor
    list_ids: tuple[Tensor, ...]
    list_lengths: Tensor
    labels: Tensor
    weights: Tensor

    @property
    def num_rows(self) -> int:
        """B."""
        return self.weights.shape[0]

    @property
    def num_bytes(self) -> int:
        """Bytes of all tensors."""
        tensors = [self.numeric, self.ids, self.list_lengths, self.labels, self.weights]
        return sum(t.numel() * t.element_size() for t in (*tensors, *self.list_ids))

    def select(self, rows: Tensor) -> Batch:
        """The given rows in the given order; `rows` is (B',) int64. On the CPU."""
        starts, taken = _take(self._list_starts, rows), _take(self.list_lengths, rows)
        return Batch(
            numeric=_take(self.numeric, rows),
            ids=_take(self.ids, rows),
            list_ids=tuple(
                _select_lists(values, starts[:, m], taken[:, m])
                for m, values in enumerate(self.list_ids)
            ),
            list_lengths=taken,
            labels=_take(self.labels, rows),
            weights=_take(self.weights, rows),
        )

    @cached_property
    def _list_starts(self) -> Tensor:
        """(B, M) place of each list's first value in `list_ids`."""
        return torch.cumsum(self.list_lengths, 0) - self.list_lengths

    def to(self, device: torch.device) -> Batch:
        """The same rows on another device."""
        if device == self.numeric.device:
            return self
        moved = {
            f.name: getattr(self, f.name).to(device, non_blocking=True)
            for f in fields(self)
            if f.name != "list_ids"
        }
        lists = tuple(values.to(device, non_blocking=True) for values in self.list_ids)
        return Batch(list_ids=lists, **moved)


def concat(batches: Sequence[Batch]) -> Batch:
    """One batch of all rows, in order; `batches` is not empty and all have the same columns."""
    first = batches[0]
    if len(batches) == 1:
        return first
    return Batch(
        numeric=torch.cat([b.numeric for b in batches]),
        ids=torch.cat([b.ids for b in batches]),
        list_ids=tuple(
            torch.cat([b.list_ids[m] for b in batches]) for m in range(len(first.list_ids))
        ),
        list_lengths=torch.cat([b.list_lengths for b in batches]),
        labels=torch.cat([b.labels for b in batches]),
        weights=torch.cat([b.weights for b in batches]),
    )


def _take(values: Tensor, rows: Tensor) -> Tensor:
    """The given rows of a CPU tensor.

    By NumPy: torch's parallel gather waits milliseconds for its threads while others are busy.
    """
    return torch.from_numpy(values.numpy().take(rows.numpy(), axis=0))


def _select_lists(values: Tensor, starts: Tensor, taken: Tensor) -> Tensor:
    """The lists that start at `starts` with the lengths `taken`, one after another."""
    offsets = (starts - (torch.cumsum(taken, 0) - taken)).numpy().repeat(taken.numpy())
    return _take(values, torch.from_numpy(offsets + np.arange(len(offsets))))
