"""Operations on ragged tensors: the entries of all rows one after another.

Shapes: B rows, N entries of all rows together, L entries of the longest row.
"""

from __future__ import annotations

import torch
from torch import Tensor


def row_of_each(lengths: Tensor, entries: int) -> Tensor:
    """(N,) the row of each entry, from (B,) lengths."""
    rows = torch.arange(lengths.shape[0], device=lengths.device)
    return torch.repeat_interleave(rows, lengths, output_size=entries)


def sums(values: Tensor, row_of: Tensor, rows: int) -> Tensor:
    """(N, …) entries to (B, …) float32 sums; zeros for an empty row."""
    values = values.float()
    return values.new_zeros(rows, *values.shape[1:]).index_add(0, row_of, values)


def softmax(scores: Tensor, row_of: Tensor, rows: int) -> Tensor:
    """(N, …) float32 weights that add up to 1 in each row that has entries."""
    scores = scores.float()
    lowest = scores.new_full((rows, *scores.shape[1:]), -torch.inf)
    index = row_of.view(-1, *(1 for _ in scores.shape[1:])).expand_as(scores)
    largest = lowest.scatter_reduce(0, index, scores.detach(), "amax")
    powers = (scores - largest[row_of]).exp()
    return powers / sums(powers, row_of, rows)[row_of]


def padded(values: Tensor, lengths: Tensor, longest: int) -> Tensor:
    """(N, D) entries to (B, L, D), each row from its first entry on, then zeros."""
    position = torch.arange(longest, device=lengths.device)
    index = (lengths.cumsum(0) - lengths).unsqueeze(1) + position
    index = torch.where(position < lengths.unsqueeze(1), index, values.shape[0])
    more = torch.cat([values, values.new_zeros(1, values.shape[1])])
    return more.index_select(0, index.flatten()).view(*index.shape, values.shape[1])
