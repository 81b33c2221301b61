"""The base class of all methods that weigh task losses.

Shapes: T tasks, P ≤ T tasks that are present in a batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache

import torch
from torch import Tensor, nn


@cache
def zero(device: torch.device) -> Tensor:
    """A 0 of a device: a number in its place would be copied there at every use."""
    return torch.zeros((), device=device)


class Balancer(nn.Module, ABC):
    """Turns the task losses of a batch into the one loss to minimise.

    The fixed task weights apply with every method: doubling one doubles the weight of its task's
    gradient, on top of the method's own weight (in STCH it is the task's preference).

    A task without a labelled row in the batch is absent: it is not in the total and its state
    does not change. All state is in buffers and parameters, so `state_dict` holds all of it.
    The parameters, if any, belong in the dense optimizer, without weight decay.

    In the training loop::

        if balancer.needs_gradient_lengths:  # GradNorm only
            balancer.record_lengths(losses, gradient lengths on the last shared layer, present)
        total = balancer.total(losses, present)  # every batch
        ...  # backward, optimizer step
        if balancer.needs_losses_after_step:  # FAMO only: one more forward, without gradients
            balancer.after_step(losses of the same batch with the new weights, present)
        balancer.epoch_end()  # every epoch

    Args:
        task_weights: (T,) fixed weights, positive.
    """

    needs_losses_after_step = False
    needs_gradient_lengths = False

    task_weights: Tensor
    last_losses: Tensor

    def __init__(self, task_weights: Tensor) -> None:
        super().__init__()
        self.register_buffer("task_weights", task_weights.detach().to(torch.float32).clone())
        self.register_buffer("last_losses", torch.ones_like(self.task_weights))

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        """The loss to minimise; also records the losses.

        Args:
            losses: (T,) mean losses, without any weight; zero where absent.
            present: (T,) bool, the tasks with labelled rows in this batch.

        Returns:
            A scalar; zero, with zero gradients, where no task is present.
        """
        self.observe(losses.detach(), present & (losses.detach().abs() < torch.inf))
        return self.combine(losses, present)

    def weights(self) -> Tensor:
        """(T,) weight of each task's gradient now: ∂total/∂loss at the last recorded losses."""
        return self._weights(self.last_losses, torch.ones_like(self.last_losses, dtype=torch.bool))

    def weighted(self, losses: Tensor, present: Tensor) -> Tensor:
        """(T,) losses times their weights in this batch's `total`; changes no state.

        Their sum has the total's gradient with respect to the network; where the total is not a
        sum (STCH, FAMO) it is that to first order.
        """
        return self._weights(losses.detach(), present) * losses

    def _weights(self, losses: Tensor, present: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = losses.clone().requires_grad_()
            return torch.autograd.grad(self.combine(leaf, present), leaf)[0]

    @abstractmethod
    def combine(self, losses: Tensor, present: Tensor) -> Tensor:
        """The total of `total`; reads the state and does not change it."""

    def observe(self, losses: Tensor, present: Tensor) -> None:
        """Records a batch's losses (T,), off the graph, of the `present` tasks."""
        self.last_losses.copy_(torch.where(present, losses, self.last_losses))

    def record_lengths(self, losses: Tensor, lengths: Tensor, present: Tensor) -> None:
        """Receives the (T,) lengths of the losses' gradients before this batch's `total`.

        Nothing to do unless `needs_gradient_lengths`.
        """

    def after_step(self, losses: Tensor, present: Tensor) -> None:
        """Receives the losses of the batch just trained on, recomputed after the optimizer step.

        Nothing to do unless `needs_losses_after_step`.
        """

    def epoch_end(self) -> None:
        """Marks the end of an epoch; only DWA uses it."""
