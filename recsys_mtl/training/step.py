"""One training step: the only place where gradients are made and spent.

Order: raw masked loss -> fixed weight and balancing -> adaTT -> backward to the cut at the pooled
embeddings -> clipping -> one update of the dense parameters and one of the tables. A batch with a
non-finite loss or gradient updates nothing.

Shapes: B rows, T tasks, P pooled embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from recsys_mtl.data.batch import Batch
from recsys_mtl.losses import Balancer, TaskLosses
from recsys_mtl.model import MultiTaskNetwork, Outputs
from recsys_mtl.training.device import Precision, autocast
from recsys_mtl.training.transfer import StepView, Transfer


@dataclass(frozen=True)
class StepResult:
    """What a step saw.

    Attributes:
        losses: (T,) mean loss over labelled rows, before weighting; 0 where none is labelled.
        counts: (T,) labelled rows.
        masses: (T,) their weight, which a mean over batches has to count by.
        updated: whether the parameters changed.
        bad_tasks: indices of the tasks with a non-finite loss.
    """

    losses: Tensor
    counts: Tensor
    masses: Tensor
    updated: bool
    bad_tasks: tuple[int, ...] = ()


class TrainingStep:
    """Forward, backward and one update of every parameter.

    Args:
        network: the model; its tables update themselves in backward, once.
        losses: one loss per task.
        balancer: turns the T losses into one.
        optimizer: of the dense parameters and of the balancer's.
        precision: of the matrix products.
        clip_norm: largest Euclidean norm of the gradient of all dense parameters and of the pooled
            embeddings together; None leaves it as it is.
        table_learning_rate: peak rate of the tables' optimizer.
        transfer: adaTT; None: off, and the step is as if there were no such thing.
    """

    def __init__(
        self,
        network: MultiTaskNetwork,
        losses: TaskLosses,
        balancer: Balancer,
        optimizer: torch.optim.Optimizer,
        *,
        precision: Precision,
        clip_norm: float | None,
        table_learning_rate: float,
        transfer: Transfer | None = None,
    ) -> None:
        self.network = network
        self.losses = losses
        self.balancer = balancer
        self.optimizer = optimizer
        self.transfer = transfer
        self._precision = precision
        self._clip_norm = clip_norm
        self.device = network.dense_parameters()[0].device
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        self._peak_rates = [group["lr"] for group in optimizer.param_groups]
        self._peak_table_rate = table_learning_rate

    def start_epoch(self, epoch: int) -> None:
        """Tell what has phases that an epoch begins."""
        if self.transfer is not None:
            self.transfer.start_epoch(epoch)

    def set_rate(self, factor: float) -> None:
        """Set both learning rates to `factor` times their peak."""
        for group, peak in zip(self.optimizer.param_groups, self._peak_rates, strict=True):
            group["lr"] = peak * factor
        self.network.embeddings.set_learning_rate(self._peak_table_rate * factor)

    def __call__(self, batch: Batch) -> StepResult:
        """Train on one batch (already on the network's device)."""
        pooled = self.network.embed(batch)
        features = pooled.detach().requires_grad_()
        masses = self.losses.masses(batch.labels, batch.weights)
        if self.transfer is not None:
            self.transfer.before(batch, pooled.detach(), masses > 0)
        with autocast(self._precision, self.device):
            outputs = self.network.forward_from(features, batch)
        losses, counts = self._losses(outputs, batch)
        detached, present = losses.detach(), counts > 0
        bad = tuple(torch.nonzero(~torch.isfinite(detached)).flatten().tolist())
        if bad:  # before the balancer has seen them
            return StepResult(detached, counts, masses, False, bad)
        total = self.balancer.total(losses, present) + outputs.penalty
        if self.transfer is not None:
            view = StepView(batch, outputs, losses, present, self.balancer)
            term = self.transfer.term(view)
            total = total if term is None else total + term
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self._scaler.scale(total))
        updated = self._update(pooled, features)
        if updated and self.balancer.needs_losses_after_step:
            with torch.no_grad(), autocast(self._precision, self.device):
                again = self.network(batch)
            self.balancer.after_step(self._losses(again, batch)[0].detach(), present)
        return StepResult(detached, counts, masses, updated)

    def _losses(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, Tensor]:
        items = self.network.item_tables()
        return self.losses(outputs.logits, batch.labels, batch.weights, items)

    def _update(self, pooled: Tensor, features: Tensor) -> bool:
        """Spend the gradients; False where they are not finite."""
        self._scaler.unscale_(self.optimizer)
        if features.grad is not None:
            features.grad.div_(self._scaler.get_scale())
        spent: list[nn.Parameter | Tensor] = [
            p for group in self.optimizer.param_groups for p in group["params"]
        ]
        spent.append(features)
        norm = get_total_norm([p.grad for p in spent if p.grad is not None])
        finite = bool(torch.isfinite(norm))
        if finite:
            if self._clip_norm is not None:
                clip_grads_with_norm_(spent, self._clip_norm, norm)
            self._scaler.step(self.optimizer)
            if features.grad is not None and pooled.requires_grad:
                torch.autograd.backward(pooled, features.grad)
            self._scaler.update()
        elif (
            self._scaler.is_enabled()
        ):  # told by hand: the scaler does not see the gradient at the cut
            self._scaler.update(self._scaler.get_scale() * self._scaler.get_backoff_factor())
        return finite
