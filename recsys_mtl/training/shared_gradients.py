"""Every task's gradient of the shared experts, by the cheapest way that the network allows.

Shapes: B rows, T tasks, S shared experts, D width, d_e entries of block e.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recsys_mtl.gradients import Block, output_gradients, task_gradients
from recsys_mtl.model import MultiTaskNetwork, Outputs
from recsys_mtl.model.device import LOOPING


def shared_gradients(
    network: MultiTaskNetwork,
    outputs: Outputs,
    losses: Tensor,
    blocks: Sequence[Block],
    present: Tensor,
) -> list[Tensor]:
    """∂L_i/∂θ_e of every present task i and block e of the shared experts' parameters.

    Where each task's loss depends on the experts through its own mixture alone, one pass gives
    every task's gradient at the mixtures; only the shared experts need one pass per task.

    Args:
        network: that computed `outputs`.
        outputs: on the graph; it stays alive.
        losses: (T,) on the graph.
        blocks: parts of parameters of the shared experts.
        present: (T,) bool.

    Returns:
        (T, d_e) float32 tensors, see `task_gradients`.
    """
    if not network.tasks_are_separable:
        return task_gradients(losses, blocks, present)
    (at_mixture,) = torch.autograd.grad(losses.sum(), outputs.mixed.tasks, retain_graph=True)
    return through_experts(network, outputs, at_mixture, blocks, present)


def through_experts(
    network: MultiTaskNetwork,
    outputs: Outputs,
    at_mixture: Tensor,
    blocks: Sequence[Block],
    present: Tensor,
) -> list[Tensor]:
    """The same from (T, B, D) gradients at the mixtures, of separable tasks; one pass a task.

    Zeros where there are no shared experts.
    """
    mixed = outputs.mixed
    if mixed.common is None:
        return [part.new_zeros(len(present), part.numel()) for block in blocks for part, _ in block]
    weights = network.shared_weights(mixed)
    if at_mixture.device.type not in LOOPING:
        every = torch.einsum("tbs,tbd->tsbd", weights.to(at_mixture.dtype), at_mixture)
        return output_gradients(mixed.common, every.__getitem__, blocks, present)
    return output_gradients(
        mixed.common,
        lambda task: torch.einsum(
            "bs,bd->sbd", weights[task].to(at_mixture.dtype), at_mixture[task]
        ),
        blocks,
        present,
    )
