"""One training step of a network for tasks on images.

The plain step is one backward pass of the weighted losses. With a combiner each task has a separate
pass through the backbone, the heads keep their plain gradients, and the shared parameters get the
combined gradient. GradNorm, which needs the plain step, weighs the losses again.

Shapes: B images, C channels, H × W pixels, F features, T tasks, d_e entries of shared part e.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recsys_mtl.gradients import (
    Combiner,
    ConflictLog,
    GradNorm,
    Part,
    add_gradients,
    output_gradients,
    task_gradients,
)
from recsys_mtl.vision.network import ImageNetwork


def shared_parts(network: ImageNetwork) -> list[Part]:
    """The shared parts, in the order of combined gradients."""
    return [Part(name, group, [(p, None)]) for name, group, p in network.shared_parameters()]


class ImageStep:
    """Forward, backward and one update of every parameter; a failed step updates none.

    Args:
        network: the model, in training mode.
        optimizer: of its parameters.
        weights: (T,) fixed weights of the losses; a task of weight 0 is left out.
        combiner: of the shared parameters' gradients, for `shared_parts`; None: the plain sum.
        gradnorm: weighs the weighted losses once more, without a combiner; or None.
        log: receives the combiner's diagnostics of each step.
    """

    def __init__(
        self,
        network: ImageNetwork,
        optimizer: torch.optim.Optimizer,
        weights: Tensor,
        *,
        combiner: Combiner | None = None,
        gradnorm: GradNorm | None = None,
        log: ConflictLog | None = None,
    ) -> None:
        assert combiner is None or gradnorm is None
        self.network = network
        self.optimizer = optimizer
        self.weights = weights
        self.combiner = combiner
        self.gradnorm = gradnorm
        self.log = log
        self.skipped = 0
        self._parts = shared_parts(network)
        self._own = [p for p in network.heads.parameters() if p.requires_grad]
        self._last = [(p, None) for p in network.backbone.last_shared()]

    def __call__(self, images: Tensor, labels: Tensor, *, step: int) -> Tensor:
        """Train on one batch.

        Args:
            images: (B, C, H, W) on the network's device.
            labels: (B, T) there too.
            step: of the training, from 0.

        Returns:
            (T,) mean losses over labelled images, before any weight.
        """
        features = self.network.backbone(images)
        cut = features if self.combiner is None else features.detach().requires_grad_()
        logits = self.network.heads(cut)
        losses, counts = self.network.task_losses(logits, labels)
        present = (counts > 0) & (self.weights > 0)
        weighted = self._balanced(losses * self.weights, present)
        self.optimizer.zero_grad(set_to_none=True)
        if self.combiner is None:
            finite = self._plain(weighted[present].sum())
        else:
            finite = self._combined(features, cut, weighted, present, step)
        if finite:
            self.optimizer.step()
        self.skipped += not finite
        return losses.detach()

    def _balanced(self, losses: Tensor, present: Tensor) -> Tensor:
        """(T,) losses times GradNorm's weights of this step; then computes those of the next."""
        if self.gradnorm is None:
            return losses
        now = self.gradnorm.weights.clone()
        (last,) = task_gradients(losses, [self._last], present)
        self.gradnorm.update(losses.detach(), last.norm(dim=1), present)
        return losses * now

    @staticmethod
    def _plain(total: Tensor) -> bool:
        finite = bool(total.isfinite())
        if finite:
            torch.autograd.backward(total)
        return finite

    def _combined(
        self, features: Tensor, cut: Tensor, losses: Tensor, present: Tensor, step: int
    ) -> bool:
        assert self.combiner is not None
        above = self._through_heads(cut, losses, present)
        rows = output_gradients(
            features, above.__getitem__, [part.block for part in self._parts], present
        )
        combined = self.combiner.combine(rows, present, step=step)
        if combined.problem is None:
            if self.log is not None and combined.diagnostics is not None:
                self.log.add(combined.diagnostics)
            add_gradients(self._parts, combined.gradients)
        return combined.problem is None

    def _through_heads(self, cut: Tensor, losses: Tensor, present: Tensor) -> list[Tensor]:
        """∂L_i/∂features of each task, (B, F); the heads' own gradients go into their `.grad`."""
        for parameter in self._own:
            parameter.grad = torch.zeros_like(parameter)  # stays for an absent task
        above = []
        for task, loss in enumerate(losses):
            if not bool(present[task]):
                above.append(torch.zeros_like(cut))
                continue
            to_cut, *own = torch.autograd.grad(loss, [cut, *self._own], retain_graph=True)
            above.append(to_cut)
            for parameter, gradient in zip(self._own, own, strict=True):
                assert parameter.grad is not None
                parameter.grad += gradient
        return above
