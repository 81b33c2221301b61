"""GradNorm: weights of losses that let all tasks train at a similar pace.

Shapes: T tasks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_TINY = 1e-8
_LEAST = 1e-3  # of a weight; at 0 or below it a task would be lost, or trained backwards


class GradNorm(nn.Module):
    """GradNorm (Chen et al. 2018, arXiv:1711.02257, algorithm 1).

    It weighs losses, and so all parameters including the tasks' own, not only gradients of
    shared ones: the total is Σ w_i L_i. With G_i = w_i ‖∇L_i‖ on chosen shared parameters (the
    paper: the last shared layer), Ḡ their mean and r_i the task's L_i / L_i(0) over the mean of
    those, w descends Σ |G_i − Ḡ r_i^α|, the target held constant, in steps of Adam as in common
    implementations (the paper names no optimizer; a plain step would depend on the losses' scale).
    Then w is rescaled to its old sum.

    An absent task, or one with a number that is not finite, takes no part: its weight, moments and
    first loss stay, and means and sums are over the others. All state is in buffers.

    Args:
        tasks: T.
        alpha: α, how hard tasks that lag behind are pulled.
        learning_rate: of the weights.

    Raises:
        ValueError: a learning rate not above 0, or a negative α.
    """

    betas = (0.9, 0.999)

    weights: Tensor
    first_losses: Tensor
    first_moment: Tensor
    second_moment: Tensor
    steps: Tensor

    def __init__(self, tasks: int, *, alpha: float = 1.5, learning_rate: float = 0.025) -> None:
        super().__init__()
        if alpha < 0:
            raise ValueError(f"alpha: expected 0 or more, found {alpha}")
        if learning_rate <= 0:
            raise ValueError(f"learning_rate: expected above 0, found {learning_rate}")
        self.alpha = alpha
        self.learning_rate = learning_rate
        self.register_buffer("weights", torch.ones(tasks))
        for name in ("first_losses", "first_moment", "second_moment", "steps"):
            self.register_buffer(name, torch.zeros(tasks))

    @torch.no_grad()
    def update(self, losses: Tensor, lengths: Tensor, present: Tensor) -> None:
        """One step of the weights.

        Args:
            losses: (T,) L_i of this batch, without w.
            lengths: (T,) ‖∇L_i‖ on the chosen parameters, without w: means over all processes.
            present: (T,) bool, the tasks with labelled rows.
        """
        taking = present & losses.isfinite() & lengths.isfinite()
        if not bool(taking.any()):
            return
        first = torch.where(self.steps > 0, self.first_losses, losses.clamp_min(_TINY))
        gradient = torch.where(taking, self.gradient(losses / first, lengths, taking), 0)
        one, two = self.betas
        m = one * self.first_moment + (1 - one) * gradient
        v = two * self.second_moment + (1 - two) * gradient.square()
        steps = self.steps + 1
        move = (m / (1 - one**steps)) / ((v / (1 - two**steps)).sqrt() + _TINY)
        moved = (self.weights - self.learning_rate * move).clamp_min(_LEAST)
        before, now = (torch.where(taking, w, 0).sum() for w in (self.weights, moved))
        for state, new in (
            (self.weights, moved * before / now),
            (self.first_losses, first),
            (self.first_moment, m),
            (self.second_moment, v),
            (self.steps, steps),
        ):
            state.copy_(torch.where(taking, new, state))

    def gradient(self, ratios: Tensor, lengths: Tensor, taking: Tensor) -> Tensor:
        """∂ Σ |G_i − target_i| / ∂w_i, the targets held constant.

        Args:
            ratios: (T,) L_i / L_i(0).
            lengths: (T,) ‖∇L_i‖.
            taking: (T,) bool, the tasks that take part; the others' values mean nothing.
        """
        weighted = self.weights * lengths
        pace = ratios / ratios[taking].mean().clamp_min(_TINY)
        target = weighted[taking].mean() * pace.clamp_min(0) ** self.alpha
        return torch.sign(weighted - target) * lengths
