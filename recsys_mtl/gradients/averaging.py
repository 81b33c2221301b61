"""Means of task gradients over micro-batches and processes, as one big batch would give them.

Every gradient is that of a mean loss over labelled rows, so parts count by their labelled rows
(by the rows' mass, where rows are weighted).

Shapes: T tasks, d (d_e) entries of a gradient (of block e).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


def weighted_mean(parts: Sequence[Tensor], counts: Sequence[Tensor]) -> Tensor:
    """The (T, d) gradient of all micro-batches of an accumulated step together.

    Args:
        parts: (T, d) gradients, one a micro-batch.
        counts: (T,) labelled rows of each; a gradient with none is ignored.

    Returns:
        (T, d); zeros for tasks without a labelled row.

    Raises:
        ValueError: no parts, or another number of counts.
    """
    if not parts or len(parts) != len(counts):
        raise ValueError(
            f"counts: expected one for each of 1 or more parts, found {len(counts)} counts "
            f"and {len(parts)} parts"
        )
    total = torch.stack(list(counts)).sum(0)
    shares = [_scaled(part, count, total) for part, count in zip(parts, counts, strict=True)]
    return torch.stack(shares).sum(0)


def over_processes(gradients: Sequence[Tensor], counts: Tensor) -> tuple[list[Tensor], Tensor]:
    """The mean of every process's gradients; with only one process, its own.

    Every process has to call it and receives the same numbers. `counts > 0` of the result are the
    tasks that are present anywhere.

    Args:
        gradients: (T, d_e) of this process, one a block.
        counts: (T,) labelled rows of this process.

    Returns:
        The (T, d_e) means, and the (T,) counts over all processes.
    """
    if not _several() or not gradients:
        return list(gradients), sum_over_processes(counts)
    total = sum_over_processes(counts)
    widths = [block.shape[1] for block in gradients]
    mine = torch.cat([_scaled(block, counts, total) for block in gradients], 1)
    return list(torch.split(sum_over_processes(mine), widths, 1)), total


def sum_over_processes(tensor: Tensor) -> Tensor:
    """The sum of every process's tensor; the tensor itself where there is only one process."""
    if not _several():
        return tensor
    total = tensor.detach().clone()
    dist.all_reduce(total)
    return total


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _scaled(gradient: Tensor, counts: Tensor, total: Tensor) -> Tensor:
    """(T, d) times counts / total; 0 where counts are 0, whatever the gradient holds there."""
    some = counts > 0
    share = counts.to(gradient.dtype) / torch.where(some, total, torch.ones_like(total))
    scaled = gradient * share.to(gradient.dtype).unsqueeze(1)
    return torch.where(some.unsqueeze(1), scaled, torch.zeros_like(gradient))
