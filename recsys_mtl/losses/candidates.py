"""Which items compete in a batch, and how likely a batch is to hold each of them.

Shapes: B rows, C candidates, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FULL_SOFTMAX_ITEMS = 2048
"""Own catalogues up to this size get the full softmax; else only the batch's items compete."""


@dataclass(frozen=True)
class Candidates:
    """The items that compete in a batch.

    Attributes:
        vectors: (C, D), not normalised.
        positions: (B,) int64, of each row's item among them; 0 where it has none.
        log_q: (C,) logarithms of `inclusion`; None: all items compete, or it is not known.
    """

    vectors: Tensor
    positions: Tensor
    log_q: Tensor | None = None

    @classmethod
    def of(cls, index: Tensor, table: Tensor, shares: Tensor | None = None) -> Candidates:
        """Those of a catalogue: all of a small one, else the distinct items of the batch.

        Args:
            index: (B,) int64 item of each row; 0: none.
            table: (I, D) of all items.
            shares: (I,) of the training rows that have each item.
        """
        if len(table) <= FULL_SOFTMAX_ITEMS:
            return cls(table, index)
        ids, positions, _ = distinct(index)
        return cls(table[ids], positions, log_q(ids, index, shares))

    @classmethod
    def read(cls, index: Tensor, vectors: Tensor, shares: Tensor | None = None) -> Candidates:
        """The distinct items of a batch whose rows have the vectors (B, D) of their items."""
        ids, positions, rows = distinct(index)
        return cls(vectors[rows], positions, log_q(ids, index, shares))


def distinct(index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The distinct items (C,) of rows (B,), their `positions` (B,), and a row (C,) of each."""
    (rows,) = torch.nonzero(index > 0, as_tuple=True)
    ids, inverse = torch.unique(index[rows], return_inverse=True)
    positions = torch.zeros_like(index).index_copy(0, rows, inverse)
    first = torch.full_like(ids, len(index)).scatter_reduce_(0, inverse, rows, "amin")
    return ids, positions, first


def log_q(ids: Tensor, index: Tensor, shares: Tensor | None) -> Tensor | None:
    """(C,) logarithm of how likely a batch like this one is to hold each item."""
    return None if shares is None else inclusion(shares[ids], (index > 0).sum()).log()


def inclusion(shares: Tensor, draws: Tensor | int) -> Tensor:
    """Probability that at least one of so many rows has an item: 1 - (1 - share)^draws."""
    return -torch.expm1(draws * torch.log1p(-shares))
