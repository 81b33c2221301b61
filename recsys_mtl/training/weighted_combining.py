"""Combining by one weight a task, from gradients of some rows or at some layer alone.

A combiner whose answer is a weighted sum needs the tasks' gradients for their Gram matrix only. One
backward pass of the weighted losses then gives the sum, of all rows.

Shapes: B rows, T tasks, S shared experts, D width, I inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from recsys_mtl import parallel
from recsys_mtl.gradients import Diagnostics, GramCombiner, TaskWeights, own_draws
from recsys_mtl.losses import TaskLosses
from recsys_mtl.model import Cut, MultiTaskNetwork
from recsys_mtl.model.device import Precision, autocast
from recsys_mtl.training.all_rows import AllRows
from recsys_mtl.training.combining import Combining, Objective, Passes, plain_pass


class WeightedCombining(Combining):
    """Combines by one weight a task; see `Combining`.

    Args:
        *arguments: of `Combining`; the combiner has one block.
        **options: likewise.
    """

    combiner: GramCombiner

    def _combine(
        self, passes: Passes
    ) -> tuple[str | None, Diagnostics | None, list[Tensor] | None]:
        at_mixture = at_copies = None
        if passes.by_mixture:
            at_mixture, at_copies = plain_pass(passes)
        elif passes.others:
            total = passes.objective.total * passes.scale
            torch.autograd.backward(total, inputs=passes.others, retain_graph=True)
        weighed = self._weigh(passes, at_mixture)
        if weighed.problem is None:
            weights = weighed.weights.float().to(passes.present.device)
            if at_mixture is None:
                total = (weights * passes.objective.tasks).sum() * passes.scale
                roots, gradients = [total], [torch.ones_like(total)]
            else:
                roots, gradients = self._at_experts(passes, weights, at_mixture, at_copies)
            torch.autograd.backward(
                roots, gradients, inputs=self._shared_ends(passes), retain_graph=True
            )
        return weighed.problem, weighed.diagnostics, None

    def _at_experts(
        self, passes: Passes, weights: Tensor, at_mixture: Tensor, at_copies: Tensor | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Weighted sums over tasks of gradients, at the shared experts and at the inputs."""
        outputs = passes.outputs
        roots, gradients = [], []
        if outputs.mixed.common is not None:
            shares = weights.view(-1, 1, 1) * self.network.shared_weights(outputs.mixed)
            shares = shares.to(at_mixture.dtype)
            roots.append(outputs.mixed.common)
            gradients.append(torch.einsum("tbs,tbd->sbd", shares, at_mixture))
        if at_copies is not None and outputs.inputs is not None:
            roots.append(outputs.inputs)
            gradients.append(torch.tensordot(weights.to(at_copies.dtype), at_copies, 1))
        return roots, gradients

    def _weigh(self, passes: Passes, at_mixture: Tensor | None) -> TaskWeights:
        raise NotImplementedError


class OfRows(WeightedCombining):
    """Weights from the gradients of the first rows of a batch, which are in random order.

    Dropout draws there by the seed and the step alone: the training's random numbers stay.

    Args:
        *arguments: of `Combining`, with parts of so many rows.
        rows: of all processes together.
        losses: one loss per task.
        precision: of the matrix products.
        seed: of the draws.
        **options: of `Combining`.
    """

    def __init__(
        self,
        *arguments: Any,
        rows: int,
        losses: TaskLosses,
        precision: Precision,
        seed: int,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._rows_measured = rows
        self._losses = losses
        self._precision = precision
        self._seed = seed

    def _weigh(self, passes: Passes, at_mixture: Tensor | None) -> TaskWeights:
        part = self._part(passes)
        rows = self._of_all_processes(self._rows(part))
        gram = self.combiner.partition.grams(rows).squeeze(0)
        return self.combiner.weigh(gram, part.present, passes.present, step=passes.number)

    def _part(self, passes: Passes) -> Passes:
        """The forward pass of the first rows, and their tasks' losses."""
        network = self.network
        rows = max(1, parallel.mine(self._rows_measured))
        batch = passes.batch.head(rows, network.layouts_above)
        cut = Cut([leaf[:rows] for leaf in passes.cut.leaf()])
        device = batch.weights.device
        every = AllRows.of(self._losses, batch)
        draws = own_draws(self._seed, passes.number, device)
        with draws, _same_averages(network), autocast(self._precision, device):
            by_task = passes.by_mixture
            outputs = network.forward_from(cut.leaf(), batch, by_task=by_task)
        items, given = network.candidates(cut.leaf(), batch), outputs.conditional
        losses, counts = every.losses(
            *self._losses(outputs.logits, batch.labels, batch.weights, items, given, every.totals)
        )
        tasks = factors(passes.objective) @ losses
        none = tasks.new_zeros(())
        objective = Objective(tasks, tasks.sum(), none, passes.objective.own, losses)
        return replace(
            passes,
            batch=batch,
            cut=cut,
            outputs=outputs,
            objective=objective,
            present=(counts > 0) & passes.present,
            others=(),
        )


class AtFeatures(WeightedCombining):
    """Weights from the gradients at the shared experts' outputs; for separable tasks."""

    @property
    def exchanged(self) -> int:
        """Products of the tasks' gradients."""
        return len(self.network.tasks) ** 2

    def _weigh(self, passes: Passes, at_mixture: Tensor | None) -> TaskWeights:
        mixed = passes.outputs.mixed
        objective, mix = passes.objective, None
        if at_mixture is None:
            (at_mixture,) = torch.autograd.grad(
                objective.losses.sum() * passes.scale, mixed.tasks, retain_graph=True
            )
            mix = factors(objective).double().cpu()
        gram = feature_gram(self.network.shared_weights(mixed), at_mixture.float())
        gram = parallel.summed(gram / passes.scale**2).cpu()
        if mix is not None:
            gram = mix @ gram @ mix.T
        return self.combiner.weigh(gram, passes.present, passes.present, step=passes.number)


def feature_gram(weights: Tensor, at_mixture: Tensor) -> Tensor:
    """(T, T) products of the tasks' gradients at the shared experts' outputs, in float64.

    Task i's is w_i[b, s] a_i[b, d] at row b, expert s and column d, so the products are sums over
    rows of (w_i · w_j) (a_i · a_j).

    Args:
        weights: (T, B, S) of the mixtures.
        at_mixture: (T, B, D) gradients there.
    """
    gates = torch.einsum("ibs,jbs->bij", weights, weights)
    towers = torch.einsum("ibd,jbd->bij", at_mixture, at_mixture)
    return (gates.double() * towers.double()).sum(0)


def factors(objective: Objective) -> Tensor:
    """(T, T) what every task's loss counts for in each task's part of the objective."""
    tasks, losses = objective.tasks, objective.losses
    if objective.own:
        (own,) = torch.autograd.grad(tasks.sum(), losses, retain_graph=True)
        return torch.diag(own)
    return torch.stack(
        [torch.autograd.grad(task, losses, retain_graph=True)[0] for task in tasks.unbind()]
    )


@contextmanager
def _same_averages(network: MultiTaskNetwork) -> Iterator[None]:
    """Running averages inside are not those of the training."""
    averages = [(buffer, buffer.clone()) for buffer in network.ple.buffers()]
    try:
        yield
    finally:
        for buffer, value in averages:
            if not torch.equal(buffer, value):  # others may be on the graph; a write breaks it
                buffer.copy_(value)
