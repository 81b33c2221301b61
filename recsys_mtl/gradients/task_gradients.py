"""The gradient of every task's loss with respect to blocks of shared parameters.

Shapes: T tasks, d_e entries of block e.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Block = Sequence[tuple[Tensor, int | None]]
"""Parts of parameters: (parameter, index on its first dimension, or None for all of it)."""


def task_gradients(
    losses: Tensor | Sequence[Tensor], blocks: Sequence[Block], present: Tensor
) -> list[Tensor]:
    """∂L_i/∂θ_e of every present task i and block e, in one backward pass a present task.

    The passes reach down to the named parameters only; no `.grad` changes, and the graph stays
    alive for the training backward. A parameter that several blocks take slices of is
    differentiated once. (Batching the passes with `is_grads_batched` was measured to be slower.)

    Call this outside a compiled region. A compiled network's backward may refuse to keep its
    graph; then compute the measured losses with the network as it was before `torch.compile`, or
    set `torch._functorch.config.donated_buffer = False` before it compiles.

    Args:
        losses: (T,) losses on the graph, or T scalars. Scalars that were never stacked spare each
            pass the other tasks' own layers, where those are separate modules.
        blocks: what to differentiate with respect to, for example one block a shared expert.
        present: (T,) bool, the tasks with labelled rows.

    Returns:
        One (T, d_e) float32 tensor a block, off the graph, entries in the order of the block's
        parts. Zeros for absent tasks, for parameters that a loss does not reach, and for those
        that do not require a gradient.

    Raises:
        ValueError: as many flags as losses are needed.
    """
    if len(losses) != len(present):
        raise ValueError(
            f"present: expected one flag for each of {len(losses)} losses, found {len(present)}"
        )
    parameters = parameters_of(blocks)

    def backward(task: int) -> tuple[Tensor | None, ...]:
        if not losses[task].requires_grad:
            return (None,) * len(parameters)
        return torch.autograd.grad(losses[task], parameters, retain_graph=True, allow_unused=True)

    return gather(backward, parameters, blocks, present)


def parameters_of(blocks: Sequence[Block]) -> list[Tensor]:
    """Those of the blocks that require a gradient, each once."""
    return list({id(p): p for b in blocks for p, _ in b if p.requires_grad}.values())


def gather(
    backward: Callable[[int], Sequence[Tensor | None]],
    parameters: Sequence[Tensor],
    blocks: Sequence[Block],
    present: Tensor,
) -> list[Tensor]:
    """One (T, d_e) a block, from `backward` of each present task and parameter."""
    gradients = [_empty(block, len(present), present.device) for block in blocks]
    for task, here in enumerate(present.tolist()):
        if not here or not parameters:
            continue
        pairs = zip(parameters, backward(task), strict=True)
        by_id = {id(p): g for p, g in pairs if g is not None}
        for rows, block in zip(gradients, blocks, strict=True):
            _fill(rows[task], block, by_id)
    return gradients


def of_every_task(
    gradients: Sequence[Tensor | None],
    parameters: Sequence[Tensor],
    blocks: Sequence[Block],
    tasks: int,
) -> list[Tensor]:
    """One (T, d_e) a block from a (T, …) gradient of each parameter; views where they can be."""
    by_id = {id(p): g for p, g in zip(parameters, gradients, strict=True) if g is not None}

    def of_part(parameter: Tensor, index: int | None) -> Tensor:
        gradient = by_id.get(id(parameter))
        if gradient is None:
            return _empty([(parameter, index)], tasks, parameter.device)
        return (gradient if index is None else gradient[:, index]).flatten(1).float()

    rows = [[of_part(*part) for part in block] for block in blocks]
    return [of_block[0] if len(of_block) == 1 else torch.cat(of_block, 1) for of_block in rows]


def _empty(block: Block, tasks: int, device: torch.device) -> Tensor:
    """(T, d_e) zeros on the block's device."""
    width = sum(p.numel() if index is None else p[index].numel() for p, index in block)
    where = block[0][0].device if block else device
    return torch.zeros(tasks, width, dtype=torch.float32, device=where)


def _fill(row: Tensor, block: Block, gradients: dict[int, Tensor]) -> None:
    """Writes a task's gradients, by parameter id, into its (d_e,) row."""
    start = 0
    for parameter, index in block:
        width = parameter.numel() if index is None else parameter[index].numel()
        gradient = gradients.get(id(parameter))
        if gradient is not None:
            part = gradient if index is None else gradient[index]
            row[start : start + width].copy_(part.reshape(-1))
        start += width
