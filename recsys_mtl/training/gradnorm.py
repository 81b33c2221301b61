"""GradNorm as a balancing of task losses.

Shapes: T tasks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recsys_mtl.gradients import GradNorm
from recsys_mtl.losses import Balancer


class GradNormBalancer(Balancer):
    """Σ_i weight_i · w_i · L_i with GradNorm's w; the step passes it the gradients' lengths.

    Args:
        task_weights: (T,) fixed weights, positive; they multiply w, which does not depend on them.
        alpha: see `GradNorm`.
        learning_rate: see `GradNorm`.
    """

    needs_gradient_lengths = True

    def __init__(self, task_weights: Tensor, *, alpha: float, learning_rate: float) -> None:
        super().__init__(task_weights)
        self.gradnorm = GradNorm(len(task_weights), alpha=alpha, learning_rate=learning_rate)

    def record_lengths(self, losses: Tensor, lengths: Tensor, present: Tensor) -> None:
        """One step of w, before this batch's `total`.

        Args:
            losses: (T,) off the graph, without any weight.
            lengths: (T,) of their gradients on the last shared layer.
            present: (T,) bool.
        """
        self.gradnorm.update(losses, lengths, present)

    def combine(self, losses: Tensor, present: Tensor) -> Tensor:
        """As in `Balancer`."""
        weights = self.task_weights * self.gradnorm.weights
        return (weights * torch.where(present, losses, 0)).sum()
