"""The common base of all methods that combine task gradients of shared parameters.

Most are maps from Gram matrices to weights: whatever the method, the gradients are read
twice: once for the Gram matrices and once for the weighted sum.

Shapes: T tasks, P of them present, d_e columns of gradient tensor e, K blocks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recsys_mtl.gradients.diagnostics import Diagnostics, diagnose, weighted_length
from recsys_mtl.gradients.output_gradients import LOOPING
from recsys_mtl.gradients.partition import Partition


class UnsolvedError(Exception):
    """A method's solver gave no finite weights; the step is skipped."""


@dataclass(frozen=True)
class Combined:
    """The combined gradients of a step.

    Attributes:
        gradients: (d_e,) tensors; zeros where the step has to be skipped.
        problem: why the caller has to skip the step; None where it succeeded.
        diagnostics: None where the step has to be skipped.
    """

    gradients: list[Tensor]
    problem: str | None
    diagnostics: Diagnostics | None


@dataclass(frozen=True)
class TaskWeights:
    """The weights of a step, one a task.

    Attributes:
        weights: (T,) float64 on the CPU, 0 of absent tasks; zeros where the step is to be skipped.
        problem: why it has to be; None where it succeeded.
        diagnostics: None where the step has to be skipped, or no task is present.
    """

    weights: Tensor
    problem: str | None
    diagnostics: Diagnostics | None


class Combiner(nn.Module, ABC):
    """Turns the tasks' gradients of the parameters they share into one.

    For shared parameters only: those of a single task keep their plain gradient. All state is
    in buffers. Absent tasks are left out: their rows are not read, and they change no state.

    On several processes each has to be given the same gradients (means over all processes,
    `over_processes`) and the same step: all then compute the same weights without
    communication, as a random draw depends on the seed and the step alone and never changes the
    training's own random numbers.

    In the training loop::

        combined = combiner.combine(gradients, present, step=step)
        if combined.problem: ...  # skip this step; combiner.skipped has counted it

    Args:
        tasks: T.
        partition: the blocks; the widths are those of the gradients in every call.

    Raises:
        ValueError: several blocks for a method that needs the full gradients.
    """

    blockwise = True
    """Whether the method may treat blocks each on its own."""

    skipped: Tensor

    def __init__(self, tasks: int, partition: Partition) -> None:
        super().__init__()
        if partition.blocks > 1 and not self.blockwise:
            raise ValueError(
                f"partition: expected one block, as {type(self).__name__} needs whole "
                f"gradients; found {partition.blocks}"
            )
        self.tasks = tasks
        self.partition = partition
        self.register_buffer("skipped", torch.tensor(0))

    def combine(self, gradients: Sequence[Tensor], present: Tensor, *, step: int) -> Combined:
        """One gradient of all present tasks' gradients.

        A step with a gradient that is not finite, or whose square is not, is to be skipped:
        `problem` gives the reason, `skipped` is increased and no other state changes. The same
        holds where a method's solver fails.

        Args:
            gradients: (T, d_e) tensors, off the graph.
            present: (T,) bool, the tasks with labelled rows.
            step: of the training, from 0; the loop owns the time.

        Returns:
            (d_e,) tensors of the gradients' type; zeros where no task is present.

        Raises:
            ValueError: gradients or flags of other shapes than declared.
        """
        self._check(gradients, present)
        device = gradients[0].device if gradients else present.device
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            nothing = [torch.zeros_like(rows[0]) for rows in gradients]
            tasks = present.nonzero().squeeze(1).cpu()
            if not len(tasks) or not gradients:
                return Combined(nothing, None, None)
            rows = _only(gradients, tasks)
            grams = self.partition.grams(rows).cpu()
            try:
                _refuse_non_finite(grams, tasks)
                return self._combined(rows, grams, tasks, step)
            except UnsolvedError as problem:
                self.skipped += 1
                return Combined(nothing, str(problem), None)

    @abstractmethod
    def _combined(
        self, rows: Sequence[Tensor], grams: Tensor, tasks: Tensor, step: int
    ) -> Combined:
        """As `combine`, of (P, d_e) rows, their (K, P, P) Gram matrices and (P,) tasks.

        Raises:
            UnsolvedError: no finite answer.
        """

    def _check(self, gradients: Sequence[Tensor], present: Tensor) -> None:
        expected = [(self.tasks, width) for width in self.partition.widths]
        shapes = [tuple(rows.shape) for rows in gradients]
        if shapes != expected:
            raise ValueError(f"gradients: expected shapes {expected}, found {shapes}")
        if present.shape != (self.tasks,):
            raise ValueError(f"present: expected {self.tasks} flags, found {list(present.shape)}")


class GramCombiner(Combiner):
    """A combiner whose answer is a weighted sum, with weights that Gram matrices determine."""

    @abstractmethod
    def weights(self, grams: Tensor, *, tasks: Tensor, step: int) -> Tensor:
        """What each present task's gradient counts for in each block.

        Args:
            grams: (K, P, P) on the CPU, finite; P ≥ 1.
            tasks: (P,) the indices of the present tasks.
            step: of the training.

        Returns:
            (K, P).

        Raises:
            UnsolvedError: there are no finite weights.
        """

    def weights_on_device(self, grams: Tensor, present: Tensor, *, step: int) -> Tensor | None:
        """The same from (K, T, T) of all tasks, 0 where absent, without a read of the device.

        (K, T) weights, 0 of absent tasks, not finite where the step has to be skipped; None: the
        method needs its matrices on the CPU.
        """
        return None

    def combine(self, gradients: Sequence[Tensor], present: Tensor, *, step: int) -> Combined:
        """As in `Combiner`; on an accelerator what is not finite stays so, and nobody is told."""
        if not gradients or gradients[0].device.type in LOOPING:
            return super().combine(gradients, present, step=step)
        self._check(gradients, present)
        with torch.no_grad(), torch.autocast(present.device.type, enabled=False):
            grams = self.partition.grams(gradients).double()
            weights = self.weights_on_device(grams, present, step=step)
            if weights is None:
                return super().combine(gradients, present, step=step)
            self.skipped = self.skipped.to(grams.device)
            self.skipped += ~((weights.sum() + grams.sum()).abs() < torch.inf)
            every = torch.arange(self.tasks, device=present.device)
            length = weighted_length(grams, weights)
            diagnostics = diagnose(
                grams, every, self.tasks, weights=weights, length=length, extra={}
            )
            return Combined(self.partition.mix(gradients, weights), None, diagnostics)

    def notes(self, grams: Tensor, *, step: int) -> dict[str, float]:
        """The method's own numbers of a step, by name."""
        return {}

    def weigh(self, gram: Tensor, measured: Tensor, present: Tensor, *, step: int) -> TaskWeights:
        """The tasks' weights where gradients are measured on some rows, or at some layer, alone.

        A present task that was not measured counts as orthogonal to all others and as long as
        they are on average. Skips steps as `combine` does.

        Args:
            gram: (T, T) products of the measured tasks' gradients, of one block.
            measured: (T,) bool.
            present: (T,) bool, the tasks with labelled rows.
            step: of the training.
        """
        weights = torch.zeros(self.tasks, dtype=torch.float64)
        known, tasks = (measured & present).cpu(), present.nonzero().squeeze(1).cpu()
        if not len(tasks):
            return TaskWeights(weights, None, None)
        gram = torch.where(known & known.unsqueeze(1), gram.cpu(), 0)
        squares = gram.diagonal()
        mean = squares[known].mean() if known.any() else 1.0
        filled = gram + torch.diag(torch.where(known, 0, mean).to(gram))
        at = tasks.unsqueeze(1), tasks
        try:
            _refuse_non_finite(filled[at].unsqueeze(0), tasks)
            own = self._finite_weights(filled[at].unsqueeze(0), tasks, step)
        except UnsolvedError as problem:
            self.skipped += 1
            return TaskWeights(weights, str(problem), None)
        weights[tasks] = own.squeeze(0).double()
        return TaskWeights(weights, None, self._diagnosed(gram[at].unsqueeze(0), tasks, own, step))

    def _finite_weights(self, grams: Tensor, tasks: Tensor, step: int) -> Tensor:
        weights = self.weights(grams, tasks=tasks, step=step)
        if not bool(weights.isfinite().all()):
            raise UnsolvedError(f"{type(self).__name__} gave weights that are not finite")
        return weights

    def _combined(
        self, rows: Sequence[Tensor], grams: Tensor, tasks: Tensor, step: int
    ) -> Combined:
        weights = self._finite_weights(grams, tasks, step)
        diagnostics = self._diagnosed(grams, tasks, weights, step)
        return Combined(self.partition.mix(rows, weights), None, diagnostics)

    def _diagnosed(self, grams: Tensor, tasks: Tensor, weights: Tensor, step: int) -> Diagnostics:
        return diagnose(
            grams,
            tasks,
            self.tasks,
            weights=weights,
            length=weighted_length(grams, weights),
            extra=self.notes(grams, step=step),
        )


class GradientCombiner(Combiner):
    """A combiner that needs the gradients themselves."""

    @abstractmethod
    def mix(self, rows: Sequence[Tensor], *, step: int) -> list[Tensor]:
        """(d_e,) tensors of the (P, d_e) gradients of the present tasks."""

    def _combined(
        self, rows: Sequence[Tensor], grams: Tensor, tasks: Tensor, step: int
    ) -> Combined:
        mixed = self.mix(rows, step=step)
        squares = self.partition.grams([part.unsqueeze(0) for part in mixed]).cpu()
        diagnostics = diagnose(
            grams,
            tasks,
            self.tasks,
            weights=None,
            length=squares[:, 0, 0].sqrt(),
            extra={},
        )
        return Combined(mixed, None, diagnostics)


class Sum(GramCombiner):
    """The plain sum: what a single backward pass of the total loss gives."""

    def weights_on_device(self, grams: Tensor, present: Tensor, *, step: int) -> Tensor:
        """Ones of the present tasks."""
        return present.double().expand(len(grams), -1)

    def weights(self, grams: Tensor, *, tasks: Tensor, step: int) -> Tensor:
        """Ones."""
        return torch.ones(grams.shape[:2])


def _only(gradients: Sequence[Tensor], tasks: Tensor) -> Sequence[Tensor]:
    """(P, d_e) rows of the present tasks; a copy only where a task is absent."""
    if len(tasks) == len(gradients[0]):
        return gradients
    return [rows[tasks.to(rows.device)] for rows in gradients]


def _refuse_non_finite(grams: Tensor, tasks: Tensor) -> None:
    """A row that is not finite makes its Gram matrix entries so: no extra pass is needed."""
    if not bool(grams.isfinite().all()):
        bad = ~grams.diagonal(dim1=1, dim2=2).isfinite().all(0)
        raise UnsolvedError(
            f"the gradients of tasks {tasks[bad].tolist()} are not finite, or too long to square"
        )
