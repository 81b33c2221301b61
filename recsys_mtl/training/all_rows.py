"""Sums over all processes' rows of a batch: values are of all rows, a gradient is of the own rows.

Everything that is not linear in the losses (balancing, adaTT's bound) then sees the same numbers in
every process, and dense gradients only have to be summed. With one process nothing changes.

Shapes: B rows of this process, T tasks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from recsys_mtl import parallel
from recsys_mtl.data.batch import Batch
from recsys_mtl.losses import TaskLosses
from recsys_mtl.model import Outputs


@dataclass(frozen=True)
class AllRows:
    """What a step needs to know of the batch's rows in all processes.

    Attributes:
        masses: (T,) float64, see `TaskLosses.masses`.
        rows: how many.
        totals: (2, T), see `TaskLosses.totals`; None: there is one process.
        share: this process' share of the rows, a scalar.
        weight_share: its share of their weight.
    """

    masses: Tensor
    rows: int
    totals: Tensor | None = None
    share: Tensor | float = 1.0
    weight_share: Tensor | float = 1.0

    @classmethod
    def of(cls, losses: TaskLosses, batch: Batch) -> AllRows:
        """Of a batch; a collective."""
        masses = losses.masses(batch.labels, batch.weights)
        if not parallel.several():
            return cls(masses, batch.num_rows)
        totals = losses.totals(batch.labels, batch.weights)
        own = torch.stack([totals.new_tensor(batch.real_rows), batch.weights.double().sum()])
        every = parallel.summed(torch.cat([masses, totals.flatten(), own]))
        masses, totals, sums = torch.split(every, [len(masses), totals.numel(), 2])
        share, weight_share = (own / sums.clamp_min(1e-12)).float()
        return cls(masses, int(sums[0]), totals.view(2, -1).float(), share, weight_share)

    def losses(self, losses: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """(T,) losses, of these `totals`, with the value of all rows, and all rows' counts."""
        if self.totals is None:
            return losses, counts
        own = torch.cat([losses.detach().double(), counts.double()])
        values, every = torch.split(parallel.summed(own), len(losses))
        # the difference is 0: the value has the same bits in every process
        return values.to(losses.dtype) + (losses - losses.detach()), every.to(counts.dtype)

    def penalty(self, outputs: Outputs) -> Tensor:
        """The penalty's part of this process."""
        if self.totals is None:
            return outputs.penalty
        entropy, own = outputs.entropy_penalty * self.share, outputs.own_penalty
        return entropy if own is None else entropy + own * self.weight_share


def sum_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace every `.grad` by its sum over all processes, in one exchange."""
    if not parallel.several():
        return
    every = [p for p in parameters if p.requires_grad]
    if not every:
        return
    there = every[0].new_tensor([float(p.grad is not None) for p in every])
    flat = [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in every]
    sizes = [len(every), *(p.numel() for p in every)]
    there, *sums = torch.split(parallel.summed(torch.cat([there, *flat])), sizes)
    for parameter, gradient, some in zip(every, sums, there.tolist(), strict=True):
        parameter.grad = gradient.view_as(parameter) if some else None


def total_norm(dense: Iterable[Tensor], cut: Iterable[Tensor]) -> Tensor:
    """The length of all gradients: those of parameters are sums already, at the cut own rows'."""
    gradients = [p.grad for p in dense if p.grad is not None]
    at_cut = [leaf.grad for leaf in cut if leaf.grad is not None]
    if not parallel.several():
        return get_total_norm([*gradients, *at_cut])
    squares = [gradient.double().square().sum() for gradient in at_cut]
    device = (gradients or at_cut)[0].device
    square = sum(squares, torch.zeros((), dtype=torch.float64, device=device))
    square = parallel.summed(square) + get_total_norm(gradients).double().square()
    return square.sqrt().float()
