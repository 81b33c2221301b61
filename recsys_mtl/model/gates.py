"""Gates over experts: names, prior, entropy, statistics.

Shapes: B rows, T tasks, E experts that one gate weighs: a task's own, then the shared ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recsys_mtl import parallel
from recsys_mtl.errors import did_you_mean, wrong

_DEAD = 0.01


def expert_names(task: str, own: int, shared: int) -> tuple[str, ...]:
    """Names of the experts that a task's gate weighs, in the order of its weights."""
    return (
        *(f"{task}.{index}" for index in range(own)),
        *(f"shared.{index}" for index in range(shared)),
    )


def gate_prior(
    tasks: Sequence[str], preferred: Mapping[str, Sequence[str]], *, own: int, shared: int
) -> Tensor:
    """(T, E) gate biases: +1 for a task's preferred experts, −1 for its others, else 0.

    Raises:
        UserError: `preferred` names an unknown task, or an expert that the task's gate does not
            weigh.
    """
    for name in preferred:
        if name not in tasks:
            raise _unknown("unknown task", "model.gates.preferred", name, tasks)
    prior = torch.zeros(len(tasks), own + shared)
    for row, task in zip(prior, tasks, strict=True):
        names = expert_names(task, own, shared)
        chosen = preferred.get(task, ())
        for name in chosen:
            if name not in names:
                raise _unknown(
                    "the task's gate has no such expert",
                    f"model.gates.preferred.{task}",
                    name,
                    names,
                )
        if chosen:
            row.copy_(torch.tensor([1.0 if name in chosen else -1.0 for name in names]))
    return prior


def _unknown(what: str, where: str, name: str, known: Sequence[str]) -> Exception:
    return wrong(
        what,
        where=where,
        expected=f"one of: {', '.join(known)}",
        found=name,
        fix=did_you_mean(name, known),
    )


def entropy(weights: Tensor) -> Tensor:
    """(..., E) gate weights to (...) entropies in nats."""
    tiny = torch.finfo(weights.dtype).tiny
    return -(weights * weights.clamp_min(tiny).log()).sum(-1)


@dataclass(frozen=True)
class GateUse:
    """How one task uses its experts, over all rows of the batches, by their weight.

    Attributes:
        mean: expert name -> mean gate weight.
        entropy: mean entropy of the gate in nats.
        dead: experts whose mean weight is below 1 %.
    """

    mean: dict[str, float]
    entropy: float
    dead: tuple[str, ...]


class GateStatistics:
    """Sums gate weights over batches; `names` gives each task's experts in gate order."""

    def __init__(self, names: Mapping[str, Sequence[str]]) -> None:
        self._names = names
        self._weights: dict[str, Tensor] = {}
        self._entropy: dict[str, Tensor] = {}
        self._mass = 0.0

    def update(self, gates: Mapping[str, Tensor], rows: Tensor) -> None:
        """Adds a batch; `gates` is task -> (B, E), `rows` their weights (B,)."""
        mass = rows.double()
        for task, value in gates.items():
            weights = value.detach().double()
            total, spread = (weights * mass[:, None]).sum(0), (entropy(weights) * mass).sum(0)
            self._weights[task] = self._weights.get(task, 0.0) + total
            self._entropy[task] = self._entropy.get(task, 0.0) + spread
        self._mass += float(mass.sum())

    def sum_over_processes(self) -> None:
        """Add the batches of all processes; each had one with the same tasks."""
        if not self._weights:
            return
        mass = next(iter(self._entropy.values())).new_tensor(self._mass)
        self._mass = float(parallel.summed(mass))
        for sums in (self._weights, self._entropy):
            sums.update({task: parallel.summed(value) for task, value in sums.items()})

    def compute(self) -> dict[str, GateUse]:
        """The use of every gated task; empty without gates, or without a row of positive weight."""
        uses: dict[str, GateUse] = {}
        if not self._mass:
            return uses
        for task, total in self._weights.items():
            means = (total / self._mass).tolist()
            mean = dict(zip(self._names[task], means, strict=True))
            uses[task] = GateUse(
                mean=mean,
                entropy=float(self._entropy[task]) / self._mass,
                dead=tuple(name for name, weight in mean.items() if weight < _DEAD),
            )
        return uses
