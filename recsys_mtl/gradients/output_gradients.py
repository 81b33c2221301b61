"""The gradient of every task through a common output, such as that of the shared experts.

Shapes: T tasks, d_e entries of block e.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from recsys_mtl.gradients.task_gradients import Block, gather, parameters_of


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

    def backward(task: int) -> tuple[Tensor | None, ...]:
        return torch.autograd.grad(
            output, parameters, cotangent(task), retain_graph=True, allow_unused=True
        )

    return gather(backward, parameters, blocks, present)
