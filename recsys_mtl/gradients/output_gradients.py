"""The gradient of every task through a common output, such as that of the shared experts.

Shapes: T tasks, d_e entries of block e.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from recsys_mtl.gradients.task_gradients import Block, gather, of_every_task, parameters_of

LOOPING = {"cpu"}
"""Kinds of device on which a pass for each task is faster than one pass of all; elsewhere its
launches, tasks times as many, cost more."""


def output_gradients(
    output: Tensor,
    cotangent: Callable[[int], Tensor],
    blocks: Sequence[Block],
    present: Tensor,
) -> list[Tensor]:
    """∂L_i/∂θ_e where every task's loss reaches the blocks through `output` alone.

    The passes start there, so the layers above (towers, gates, own experts) are not passed
    through once a task.

    Args:
        output: on the graph; it stays alive.
        cotangent: ∂L_i/∂output of task i, of the output's shape.
        blocks: what to differentiate with respect to.
        present: (T,) bool, the tasks with labelled rows.

    Returns:
        As `task_gradients`.
    """
    parameters = parameters_of(blocks)
    if output.device.type not in LOOPING and parameters:  # absent tasks' rows are 0 as well
        every = torch.stack([cotangent(task) for task in range(len(present))])

        def backward_of(one: Tensor) -> tuple[Tensor, ...]:
            return torch.autograd.grad(
                output, parameters, one, retain_graph=True, materialize_grads=True
            )

        gradients = torch.vmap(backward_of)(every)
        return of_every_task(gradients, parameters, blocks, len(present))

    def backward(task: int) -> tuple[Tensor | None, ...]:
        return torch.autograd.grad(
            output, parameters, cotangent(task), retain_graph=True, allow_unused=True
        )

    return gather(backward, parameters, blocks, present)
