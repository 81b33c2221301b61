"""Tables that every process has whole: one process' update is that of the rows of all processes.

Shapes: B bags of this process, D width of the sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from recsys_mtl import parallel
from recsys_mtl.features.block import Bag

Lookup = Callable[[Sequence[Bag]], Tensor]
"""Bags to (B, D) sums on the graph, whose backward updates the tables."""


def replicated(lookup: Lookup, bags: Sequence[Bag]) -> Tensor:
    """The sums of this process' bags; backward updates as for the bags of all processes.

    Backward is a collective: every process has to call it, with a gradient of its own bags. All
    then make the same update. With one process it is `lookup(bags)`.
    """
    if not parallel.several():
        return lookup(bags)
    anchor = torch.zeros((), requires_grad=True)
    look_up: Callable[..., Tensor] = _Replicated.apply
    return look_up(anchor, lookup, bags)


class _Replicated(torch.autograd.Function):
    """The anchor makes the result part of a graph."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, lookup: Lookup, bags: Sequence[Bag]) -> Tensor:
        """(B, D)."""
        ctx.lookup, ctx.bags = lookup, bags
        return lookup(bags).detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, None]:
        """One update with what all processes looked up."""
        gradient = torch.cat(parallel.gathered(gradients[0].contiguous()))
        bags = of_all(ctx.bags)
        with torch.enable_grad():
            sums = ctx.lookup(bags)
        sums.backward(gradient)
        return None, None, None


def of_all(bags: Sequence[Bag]) -> list[Bag]:
    """The bags of all processes, by rank, in one exchange."""
    sizes = [len(t) for ids, lengths in bags for t in (ids, lengths) if t is not None]
    own = [t.long() for ids, lengths in bags for t in (ids, lengths) if t is not None]
    like = own[0]
    packed = torch.cat([torch.tensor(sizes, device=like.device), *own])
    parts = [_unpacked(part, len(sizes)) for part in parallel.gathered(packed)]
    columns = [torch.cat(column) for column in zip(*parts, strict=True)]
    gathered: list[Bag] = []
    for ids, lengths in bags:
        every = columns.pop(0).to(ids.dtype)
        gathered.append((every, None if lengths is None else columns.pop(0).to(lengths.dtype)))
    return gathered


def _unpacked(packed: Tensor, count: int) -> Sequence[Tensor]:
    return torch.split(packed[count:], packed[:count].tolist())
