"""torchjd's scalarizers as balancers; the only file of losses that imports torchjd.

torchjd keeps its state in Python attributes, of a fixed number of tasks. Here it is in buffers of
all T tasks, and a scalarizer of the P present tasks is made for each call, which costs some 0.1 ms.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from recsys_mtl.losses.balancer import Balancer

_TINY = 1e-8  # torchjd's own floor under FAMO's losses


def _torchjd() -> Any:
    """Imported by the first balancer that needs it: the others train without it."""
    from torchjd import scalarization

    return scalarization


class Scalarized(Balancer):
    """A balancer that passes the present tasks to a torchjd scalarizer."""

    def combine(self, losses: Tensor, present: Tensor) -> Tensor:
        """The scalarizer's value; zero where no task is present."""
        index = present.nonzero().squeeze(1)
        return self.scalarize(losses[index], index) if len(index) else losses.sum() * 0

    @abstractmethod
    def scalarize(self, losses: Tensor, index: Tensor) -> Tensor:
        """The total of (P,) losses, those of the tasks `index`."""


class Stch(Scalarized):
    """Smooth Tchebycheff scalarization (Lin et al. 2024, arXiv:2402.19078): μ log Σ exp(w L / μ).

    A smooth maximum of the weighted losses; the task weights are the preference vector.
    """

    mu = 0.5  # of the values that the paper tries, smooth enough for losses between 0.1 and 1

    def scalarize(self, losses: Tensor, index: Tensor) -> Tensor:
        """The scalarizer's value with the task weights as preferences."""
        value: Tensor = _torchjd().STCH(self.mu, weights=self.task_weights[index])(losses)
        return value


class ImtlL(Scalarized):
    """IMTL-L (Liu et al. 2021): Σ e^s L - s with s learned: e^s follows 1 / L.

    A weight on L would be learned away by s, so the task weights act on the gradient of L alone.
    """

    def __init__(self, task_weights: Tensor) -> None:
        super().__init__(task_weights)
        self.log_scale = nn.Parameter(torch.zeros_like(self.task_weights))

    def scalarize(self, losses: Tensor, index: Tensor) -> Tensor:
        """The scalarizer's value of the unweighted losses, with weighted gradients."""
        weighted = _weigh_gradient(losses, self.task_weights[index])
        return _call(_torchjd().IMTLL(len(index)), self.log_scale[index], weighted)


class Famo(Scalarized):
    """FAMO (Liu et al. 2023): c Σ z log L, z the softmax of logits learned from losses' decrease.

    The logits learn from log L before and after a step on the same batch, where a constant factor
    cancels, so the task weights act on the gradient of L alone. torchjd's own update keeps its Adam
    state out of checkpoints and would change absent tasks; `after_step` is that update with its
    moments in buffers, and each task counts its own steps.
    """

    needs_losses_after_step = True
    learning_rate = 0.025
    weight_decay = 1e-3
    betas = (0.9, 0.999)

    logits: Tensor
    first_moment: Tensor
    second_moment: Tensor
    steps: Tensor

    def __init__(self, task_weights: Tensor) -> None:
        super().__init__(task_weights)
        for name in ("logits", "first_moment", "second_moment", "steps"):
            self.register_buffer(name, torch.zeros_like(self.task_weights))

    def scalarize(self, losses: Tensor, index: Tensor) -> Tensor:
        """The scalarizer's value of the unweighted losses, with weighted gradients."""
        weighted = _weigh_gradient(losses, self.task_weights[index])
        return _call(_torchjd().FAMO(len(index)), self.logits[index], weighted)

    @torch.no_grad()
    def after_step(self, losses: Tensor, present: Tensor) -> None:
        """One Adam step on the logits (FAMO's algorithm 2), of the present tasks only.

        Args:
            losses: (T,) of the batch that `total` received last, computed after the optimizer step.
            present: (T,) as in that call.
        """
        present = present & losses.isfinite()
        decrease = torch.log(self.last_losses + _TINY) - torch.log(losses + _TINY)
        decrease = torch.where(present, decrease, 0)
        z = torch.softmax(self.logits.masked_fill(~present, -torch.inf), 0)
        z = torch.where(present, z, 0)  # without a present task the softmax is NaN
        gradient = z * (decrease - (z * decrease).sum()) + self.weight_decay * self.logits

        first, second = self.betas
        m = first * self.first_moment + (1 - first) * gradient
        v = second * self.second_moment + (1 - second) * gradient.square()
        steps = self.steps + 1
        step = (m / (1 - first**steps)) / ((v / (1 - second**steps)).sqrt() + _TINY)
        for state, new in (
            (self.logits, self.logits - self.learning_rate * step),
            (self.first_moment, m),
            (self.second_moment, v),
            (self.steps, steps),
        ):
            state.copy_(torch.where(present, new, state))


class Dwa(Scalarized):
    """Dynamic Weight Average (Liu et al. 2019, equation 7): P softmax(rate / 2) over the tasks.

    A task's rate is its mean loss of the last epoch over that of the epoch before, 1 until it has
    two; an epoch in which it is absent does not count for it.
    """

    loss_sum: Tensor
    batches: Tensor
    newer: Tensor
    older: Tensor
    epochs: Tensor

    def __init__(self, task_weights: Tensor) -> None:
        super().__init__(task_weights)
        for name in ("loss_sum", "batches", "epochs"):
            self.register_buffer(name, torch.zeros_like(self.task_weights))
        for name in ("newer", "older"):
            self.register_buffer(name, torch.ones_like(self.task_weights))

    def scalarize(self, losses: Tensor, index: Tensor) -> Tensor:
        """The scalarizer's value of the weighted losses, after two epochs of one batch each."""
        scalarizer = _torchjd().DWA()
        for average in (self.older, self.newer):
            scalarizer(average[index])
            scalarizer.step()
        value: Tensor = scalarizer(self.task_weights[index] * losses)
        return value

    def observe(self, losses: Tensor, present: Tensor) -> None:
        """Adds the losses to the epoch's mean."""
        super().observe(losses, present)
        self.loss_sum += torch.where(present, losses, 0)
        self.batches += present

    def epoch_end(self) -> None:
        """Makes this epoch's mean losses the newer ones."""
        seen = self.batches > 0
        mean = (self.loss_sum / self.batches.clamp(min=1)).clamp(min=_TINY)
        before = torch.where(self.epochs > 0, self.newer, mean)
        self.older.copy_(torch.where(seen, before, self.older))
        self.newer.copy_(torch.where(seen, mean, self.newer))
        self.epochs += seen
        self.loss_sum.zero_()
        self.batches.zero_()


def _weigh_gradient(losses: Tensor, weights: Tensor) -> Tensor:
    """The value of `losses`, the gradient of `weights * losses`."""
    constant = losses.detach()
    return constant + weights * (losses - constant)


def _call(scalarizer: nn.Module, state: Tensor, losses: Tensor) -> Tensor:
    """The scalarizer's value with `state` instead of its one parameter."""
    ((name, _),) = scalarizer.named_parameters()
    value: Tensor = functional_call(scalarizer, {name: state}, (losses,))
    return value
