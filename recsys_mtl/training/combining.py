"""A backward pass that combines the tasks' gradients of the shared parts.

Shared parts are the shared experts, the layers below them and the pooled embeddings at the cut. All
other parameters (towers, gates, own experts, those of adaTT and balancing) get the plain gradient
of the total. Gate entropy and borrowed labels are no tasks: their gradient is never combined.

Shapes: B rows, T tasks, d_e entries of shared part e, K blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recsys_mtl import parallel
from recsys_mtl.data.batch import Batch
from recsys_mtl.gradients import (
    Activation,
    Combiner,
    ConflictLog,
    Diagnostics,
    Part,
    RowSplit,
    add_gradients,
    output_gradients,
    task_gradients,
)
from recsys_mtl.model import Cut, MultiTaskNetwork, Outputs
from recsys_mtl.training.all_rows import sum_gradients
from recsys_mtl.training.shared_gradients import through_experts

CUT = "embeddings"
"""Name of the block of the pooled embeddings."""


@dataclass(frozen=True)
class Objective:
    """The objective of a step.

    Attributes:
        tasks: (T,) losses after balancing and adaTT; their sum has the gradient of `total` with
            respect to the network.
        total: scalar; includes the balancing's learned terms.
        extra: scalar, terms of no task.
        own: whether a task's entry of `tasks` holds no other task's loss.
        losses: (T,) before balancing and adaTT, on the graph of `tasks`.
    """

    tasks: Tensor
    total: Tensor
    extra: Tensor
    own: bool
    losses: Tensor


@dataclass(frozen=True)
class Passes:
    """What a step's backward passes start from and end at.

    Attributes:
        batch: the rows.
        cut: inputs of the forward pass, by task for separable tasks.
        outputs: of the network, on the graph.
        objective: to minimise.
        present: (T,) bool.
        others: what gets the plain gradient.
        scale: factor of every gradient.
        number: of the step.
    """

    batch: Batch
    cut: Cut
    outputs: Outputs
    objective: Objective
    present: Tensor
    others: Sequence[Tensor]
    scale: Tensor | float
    number: int

    @property
    def by_mixture(self) -> bool:
        """Whether the total's gradient at the mixtures tells the tasks apart."""
        return self.outputs.by_task is not None and self.objective.own


def shared_parts(network: MultiTaskNetwork, batch_size: int) -> list[Part | Activation]:
    """The shared parts of a network, the cut last.

    Args:
        network: the model.
        batch_size: most rows of a batch; the gradients of fewer are padded with zeros.
    """
    parts: list[Part | Activation] = [
        Part(name, group, [(parameter, index)])
        for name, group, parameter, index in network.shared_parameters()
    ]
    pooled = network.embedded_width
    if not pooled:
        return parts
    rows = -(-batch_size // parallel.world())
    split = RowSplit(pooled, batch_size, parallel.rank(), parallel.world())
    return [*parts, Activation(CUT, rows * pooled, split if parallel.several() else None)]


class Combining:
    """Combines the gradients of single tasks above the cut, for the optimizer.

    Args:
        network: the model.
        combiner: of gradients of `parts`.
        blocks: names of its K blocks.
        parts: of `shared_parts`.
        interval: steps between two that enter the diagnostics.
        always: whether each step is combined, or only those that enter the diagnostics.
    """

    def __init__(
        self,
        network: MultiTaskNetwork,
        combiner: Combiner,
        blocks: tuple[str, ...],
        parts: Sequence[Part | Activation],
        *,
        interval: int = 1,
        always: bool = True,
    ) -> None:
        self.network = network
        self.combiner = combiner
        self.blocks = blocks
        self._parts = [part for part in parts if isinstance(part, Part)]
        self._width = next((part.width for part in parts if isinstance(part, Activation)), 0)
        device = network.dense_parameters()[0].device
        self.log = ConflictLog(len(blocks), len(network.tasks)).to(device)
        self._interval = interval
        self._always = always
        self._shared = {id(p): p for part in self._parts for p, _ in part.block}
        self._first_below = len(self._parts) - len(network.input_parameters())
        known = self._shared.keys() | {id(p) for p in network.sequences.parameters()}
        self._others = [p for p in network.dense_parameters() if id(p) not in known]

    @property
    def exchanged(self) -> int:
        """Numbers of the tasks' gradients that are summed over processes."""
        return len(self.network.tasks) * sum(part.width for part in self._parts)

    def due(self, number: int) -> bool:
        """Whether that step's gradients are combined here."""
        return self._always or number % self._interval == 0

    def backward(
        self,
        passes: Passes,
        *,
        summed: Sequence[nn.Parameter] = (),
    ) -> str | None:
        """Fill the `.grad` of every dense parameter and of the cut's leaves.

        Args:
            passes: the step's.
            summed: parameters whose gradient is summed over processes.

        Returns:
            Why the step has to be skipped; None: it succeeded.
        """
        problem, diagnostics, gradients = self._combine(passes)
        if problem is not None:
            return problem
        if diagnostics is not None and passes.number % self._interval == 0:
            self.log.add(diagnostics)
        extra = passes.objective.extra
        if extra.requires_grad:
            everything = [*passes.others, *self._shared_ends(passes)]
            torch.autograd.backward(extra * passes.scale, inputs=everything)
        sum_gradients(summed)  # before those are added that are of all processes already
        if gradients is not None:
            if isinstance(passes.scale, Tensor):
                gradients = [part * passes.scale for part in gradients]
            if self._width:
                _add_to_leaves(self._leaves(passes), gradients[-1])
            add_gradients(self._parts, gradients[: len(self._parts)])
        return None

    def _combine(
        self, passes: Passes
    ) -> tuple[str | None, Diagnostics | None, list[Tensor] | None]:
        """Why to skip the step, its diagnostics, the gradients still to be added to `.grad`."""
        rows = self._of_all_processes(self._rows(passes))
        combined = self.combiner.combine(rows, passes.present, step=passes.number)
        return combined.problem, combined.diagnostics, combined.gradients

    def others(self, cut: Cut, learned: Sequence[nn.Parameter]) -> list[Tensor]:
        """What gets the plain gradient of the total.

        Args:
            cut: of the step.
            learned: parameters of the objective outside of the network.
        """
        shared = len(self.network.shared_of(cut.leaf()))
        others: list[Tensor] = [p for p in (*self._others, *learned) if p.requires_grad]
        return others + list(cut.leaf()[shared:])  # of tables of single tasks

    def _leaves(self, passes: Passes) -> Sequence[Tensor]:
        return self.network.shared_of(passes.cut.leaf())

    def _shared_ends(self, passes: Passes) -> list[Tensor]:
        return [*(p for p in self._shared.values() if p.requires_grad), *self._leaves(passes)]

    def _of_all_processes(self, rows: list[Tensor]) -> list[Tensor]:
        """The same with the parameters' rows summed over processes; at the cut they are the own."""
        parts = rows[: len(self._parts)]
        if not parts or not parallel.several():
            return rows
        total = parallel.summed(torch.cat(parts, 1))
        return [*torch.split(total, [p.shape[1] for p in parts], 1), *rows[len(parts) :]]

    def diagnostics(self) -> dict[str, Any] | None:
        """Diagnostics since the last call, see `Conflicts.described`; None: no steps."""
        conflicts = self.log.take(skipped=int(self.combiner.skipped))
        if conflicts is None:
            return None
        return conflicts.described(self.blocks, self.network.task_names)

    def _rows(self, passes: Passes) -> list[Tensor]:
        """(T, d_e) task gradients of every part; puts the others' gradient into their `.grad`."""
        outputs, objective, present = passes.outputs, passes.objective, passes.present
        shared = self._leaves(passes)
        blocks = [*(part.block for part in self._parts), [(leaf, None) for leaf in shared]]
        if passes.by_mixture:
            at_mixture, at_copies = plain_pass(passes)
            rows = through_experts(self.network, outputs, at_mixture, blocks, present)
            if (
                at_copies is not None and outputs.inputs is not None
            ):  # through the tasks' own gates and experts
                direct = output_gradients(
                    outputs.inputs, at_copies.__getitem__, blocks[self._first_below :], present
                )
                for to, own in zip(rows[self._first_below :], direct, strict=True):
                    to += own
        else:
            if passes.others:
                total = objective.total * passes.scale
                torch.autograd.backward(total, inputs=passes.others, retain_graph=True)
            rows = task_gradients(objective.tasks * passes.scale, blocks, present)
        if isinstance(passes.scale, Tensor):
            rows = [part / passes.scale for part in rows]
        missing = self._width - rows[-1].shape[1]
        if missing > 0:  # padding by nothing would copy
            rows[-1] = F.pad(rows[-1], (0, missing))
        return rows if self._width else rows[:-1]


def plain_pass(passes: Passes) -> tuple[Tensor, Tensor | None]:
    """The total's backward pass down to what single tasks read, where that tells tasks apart.

    Puts the others' gradient into their `.grad`.

    Returns:
        (T, B, D) gradients at the mixtures; (T, B, I) at the tasks' copies of the inputs, None
        where no task reads its copy.
    """
    outputs = passes.outputs
    assert outputs.by_task is not None
    ends = [outputs.mixed.tasks, outputs.by_task, *passes.others]
    at_mixture, at_copies, *gradients = torch.autograd.grad(
        passes.objective.total * passes.scale, ends, retain_graph=True, allow_unused=True
    )
    for parameter, gradient in zip(passes.others, gradients, strict=True):
        parameter.grad = None if gradient is None else gradient.contiguous()
    return at_mixture, at_copies


def _add_to_leaves(leaves: Sequence[Tensor], gradient: Tensor) -> None:
    """Add one part's gradient of all leaves, concatenated, to their `.grad`."""
    start = 0
    for leaf in leaves:
        part = gradient[start : start + leaf.numel()].view_as(leaf)
        leaf.grad = part if leaf.grad is None else leaf.grad + part
        start += leaf.numel()
