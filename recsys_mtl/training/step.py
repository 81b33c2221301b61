"""One training step: the only code that computes and applies gradients.

Order: raw masked loss -> fixed weight and balancing -> adaTT -> backward to the cut at the pooled
embeddings, the tasks' gradients combined there and on the shared experts -> clipping -> one update
of the dense parameters and one of the tables. A batch with a non-finite loss or gradient updates
neither: on a CPU the step ends there, elsewhere the updates are multiplied by zero, as to ask
would wait for the device.

Shapes: B rows, T tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_

from recsys_mtl import parallel
from recsys_mtl.data.batch import Batch
from recsys_mtl.losses import Balancer, TaskLosses
from recsys_mtl.losses.balancer import zero
from recsys_mtl.model import Cut, MultiTaskNetwork, Outputs
from recsys_mtl.model.device import Precision, autocast
from recsys_mtl.training.all_rows import AllRows, sum_gradients, total_norm
from recsys_mtl.training.combining import Combining, Objective, Passes
from recsys_mtl.training.shared_gradients import shared_gradients
from recsys_mtl.training.transfer import StepView, Transfer


@dataclass(frozen=True)
class StepResult:
    """The result of a step.

    Attributes:
        losses: (T,) mean loss over labelled rows, before weighting; 0 where none is labelled.
        counts: (T,) labelled rows.
        masses: (T,) their weight, for a mean over batches.
        updated: whether the parameters changed; on an accelerator a () tensor there, not yet read.
        problem: why a combiner gave no gradient.
        rows: of the batch; with several processes all of these are of all processes' rows.
    """

    losses: Tensor
    counts: Tensor
    masses: Tensor
    updated: Tensor | bool
    problem: str | None = None
    rows: int = 0

    @property
    def bad_tasks(self) -> tuple[int, ...]:
        """Indices of the tasks with a non-finite loss; waits for the device."""
        return tuple(torch.nonzero(~torch.isfinite(self.losses)).flatten().tolist())


class TrainingStep:
    """Forward, backward and one update of every parameter.

    Args:
        network: the model; its tables update themselves in backward, once.
        losses: one loss per task.
        balancer: turns the T losses into one.
        optimizer: of the dense parameters and of the balancer's.
        precision: of the matrix products.
        clip_norm: largest Euclidean norm of the gradient of all dense parameters and of the pooled
            embeddings together; None: unlimited.
        table_learning_rate: peak rate of the tables' optimizer.
        transfer: adaTT; None: off.
        combining: of the tasks' gradients; None: one backward pass of their sum.
        captured: whether the network runs as CUDA graphs, whose outputs last until the next step.

    Attributes:
        waits: whether a step knows at once that its batch has to be skipped.
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
        combining: Combining | None = None,
        captured: bool = False,
    ) -> None:
        self.network = network
        self.losses = losses
        self.balancer = balancer
        self.optimizer = optimizer
        self.transfer = transfer
        self.combining = combining
        self._precision = precision
        self._clip_norm = clip_norm
        self._captured = captured
        self.device = network.dense_parameters()[0].device
        self.waits = self.device.type == "cpu"
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        self._peak_rates = [group["lr"] for group in optimizer.param_groups]
        self._peak_table_rate = table_learning_rate
        # These learn from the losses' values alone, which all processes have.
        alike = [*balancer.parameters(), *([] if transfer is None else transfer.adatt.parameters())]
        self._summed = [p for p in self._dense() if all(p is not own for own in alike)]

    @property
    def scaler(self) -> torch.amp.GradScaler:
        """Of the loss in fp16; it does nothing in other precisions."""
        return self._scaler

    def start_epoch(self, epoch: int) -> None:
        """Start an epoch of the methods that have phases."""
        if self.transfer is not None:
            self.transfer.start_epoch(epoch)

    def set_rate(self, factor: float) -> None:
        """Set both learning rates to `factor` times their peak."""
        for group, peak in zip(self.optimizer.param_groups, self._peak_rates, strict=True):
            group["lr"] = peak * factor
        self.network.embeddings.set_learning_rate(self._peak_table_rate * factor)

    def __call__(self, batch: Batch, number: int = 0) -> StepResult:
        """Train on one batch.

        Args:
            batch: already on the network's device.
            number: of the step in the training, from 0.
        """
        if self._captured:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        with autocast(self._precision, self.device):
            cut = self.network.cut(batch)
        every = AllRows.of(self.losses, batch)
        masses, rows = every.masses, every.rows
        if self.transfer is not None:
            self.transfer.before(batch, cut.values(), masses > 0)
        combining = self.combining if self.combining and self.combining.due(number) else None
        by_task = combining is not None and self.network.tasks_are_separable
        with autocast(self._precision, self.device):
            outputs = self.network.forward_from(cut.leaf(), batch, by_task=by_task)
        losses, counts = self._losses(outputs, cut.leaf(), batch, every)
        detached = losses.detach()
        finite = detached.abs().amax() < torch.inf
        if self.waits and not bool(finite):  # before the balancer records them
            return StepResult(detached, counts, masses, False, rows=rows)
        present = counts > 0 if self.waits else (counts > 0) & finite
        if self.balancer.needs_gradient_lengths:
            self.balancer.record_lengths(detached, self._lengths(outputs, losses, present), present)
        view = StepView(batch, outputs, losses, present, self.balancer, every.totals)
        objective = self._objective(view, every.penalty(outputs), by_task=combining is not None)
        self.optimizer.zero_grad(set_to_none=True)
        if combining is None:
            torch.autograd.backward(self._scaler.scale(objective.total + objective.extra))
            sum_gradients(self._summed)
        else:
            learned = [*self.balancer.parameters()]
            learned += [] if self.transfer is None else self.transfer.parameters()
            passes = Passes(
                batch,
                cut,
                outputs,
                objective,
                present,
                others=combining.others(cut, learned),
                scale=self._scale(),
                number=number,
            )
            problem = combining.backward(passes, summed=self._summed)
            if problem is not None:
                self._back_off()
                return StepResult(detached, counts, masses, False, problem=problem, rows=rows)
        updated = self._update(cut, finite)
        if self.balancer.needs_losses_after_step and bool(updated):
            with torch.no_grad(), autocast(self._precision, self.device):
                embedded = self.network.embed(batch)
                again = self.network.forward_from(embedded, batch)
            losses_after, _ = self._losses(again, embedded, batch, every)
            self.balancer.after_step(losses_after.detach(), present)
        return StepResult(detached, counts, masses, updated, rows=rows)

    def _objective(self, view: StepView, extra: Tensor, *, by_task: bool) -> Objective:
        """The objective after balancing and adaTT; `tasks` are valid only if `by_task`."""
        total = self.balancer.total(view.losses, view.present)
        tasks = view.losses
        if by_task:
            tasks = self.balancer.weighted(view.losses, view.present)
        terms = self.transfer.task_terms(view) if self.transfer is not None else None
        if terms is not None:
            tasks, total = tasks + terms, total + terms.sum()
        term = self.transfer.term(view) if self.transfer is not None else None
        extra = extra if term is None else extra + term
        return Objective(tasks, total, extra, terms is None, view.losses)

    def _lengths(self, outputs: Outputs, losses: Tensor, present: Tensor) -> Tensor:
        """(T,) lengths of the losses' gradients on the last layer of the shared experts.

        The experts' gradients include the factors of adaTT's mechanism `gradient`.
        """
        scale = self._scale()
        block = self.network.last_shared_parameters()
        (rows,) = shared_gradients(self.network, outputs, losses * scale, [block], present)
        lengths: Tensor = torch.linalg.vector_norm(parallel.summed(rows), dim=1)
        return lengths / scale

    def _losses(
        self, outputs: Outputs, embedded: Sequence[Tensor], batch: Batch, every: AllRows
    ) -> tuple[Tensor, Tensor]:
        items = self.network.candidates(embedded, batch)
        given, totals = outputs.conditional, every.totals
        losses = self.losses(outputs.logits, batch.labels, batch.weights, items, given, totals)
        return every.losses(*losses)

    def _dense(self) -> list[nn.Parameter]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def _update(self, cut: Cut, finite: Tensor) -> Tensor | bool:
        """Apply the gradients, if they and the losses are finite; whether they were applied."""
        if self._scaler.is_enabled():
            self._scaler.unscale_(self.optimizer)
            if gradients := [g for g in map(_grad, cut.leaf()) if g is not None]:
                torch._foreach_div_(gradients, self._scale())
        dense = self._dense()
        norm = total_norm(dense, cut.leaf())
        finite = finite & (norm < torch.inf)
        if self.waits and not bool(finite):
            self._back_off()
            return False
        if self._clip_norm is not None:
            clip_grads_with_norm_([*dense, *cut.leaf()], self._clip_norm, norm)
        if not self.waits:
            nothing = zero(self.device)
            for leaf in cut.leaf():
                leaf.grad = None if leaf.grad is None else torch.where(finite, leaf.grad, nothing)
            self.network.embeddings.applied = finite
        cut.spend()  # tables learn; encoders below the cut have their gradient then
        sum_gradients(self.network.sequences.parameters())
        self._step_optimizer(finite)
        return True if self.waits else finite

    def _step_optimizer(self, finite: Tensor) -> None:
        """One step of the fused optimizer, which leaves out itself what is not finite."""
        if self._scaler.is_enabled():
            for overflow in self._scaler._found_inf_per_device(self.optimizer).values():
                overflow.logical_or_(~finite)  # the scaler ignores the gradient at the cut
            self._scaler.step(self.optimizer)
            self._scaler.update()
            return
        if not self.waits:  # as `GradScaler.step` does
            overflow = torch.logical_not(finite, out=torch.empty((), device=self.device))
            self.optimizer.found_inf = overflow  # type: ignore[attr-defined]
        self.optimizer.step()
        if not self.waits:
            del self.optimizer.found_inf  # type: ignore[attr-defined]

    def _scale(self) -> Tensor | float:
        """The scaler's factor; the scaler is initialised by the first loss."""
        one = torch.ones((), device=self.device)
        return self._scaler.scale(one) if self._scaler.is_enabled() else 1.0

    def _back_off(self) -> None:
        """Reduce the scale: the scaler ignores the gradient at the cut and those of tasks."""
        if self._scaler.is_enabled():
            self._scaler.update(self._scaler.get_scale() * self._scaler.get_backoff_factor())


def _grad(leaf: Tensor) -> Tensor | None:
    return leaf.grad
