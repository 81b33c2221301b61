"""AITM: information is handed on along a chain of tasks.

Shapes: B rows, T tasks, D width of the tasks' experts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from recsys_mtl.model.architecture import (
    Architecture,
    ArchitectureOutput,
    ArchitectureSpec,
    Shared,
    of_bank,
    of_module,
)
from recsys_mtl.model.cgc import CGC, CGCSpec
from recsys_mtl.model.experts import ExpertBank
from recsys_mtl.model.gates import expert_names
from recsys_mtl.model.members import MemberInputs


class InformationTransfer(nn.Module):
    """Attention of a task over its own representation q and its predecessor's information p.

    p = g(z of the predecessor); z = Σ_u w_u h1(u) over u ∈ {p, q}, with w = softmax of
    ⟨h2(u), h3(u)⟩ / √D (Xi et al. 2021, equations 4 to 6); g, h1, h2, h3 are affine.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.information = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)

    def forward(self, before: Tensor, own: Tensor) -> Tensor:
        """(B, D) of the predecessor and (B, D) of the task to (B, D)."""
        pair = torch.stack((self.information(before), own.to(before.dtype)))
        scores = (self.query(pair).float() * self.key(pair).float()).sum(-1)
        weights = torch.softmax(scores / pair.shape[-1] ** 0.5, 0)
        values: Tensor = self.value(pair)
        return (weights.unsqueeze(-1).to(values.dtype) * values).sum(0)


class AITM(Architecture):
    """Adaptive information transfer multi-task (Xi et al., KDD 2021).

    Every task has experts of its own (with several, mixed by a gate); along the chain each task's
    representation takes in its predecessor's. The calibrator adds
    `calibrator · mean over rows of Σ max(p_task − p_predecessor, 0)` to the loss (equation 10).

    The experts of the chain's first task are shared by all, if the chain holds all tasks.

    Args:
        experts: of the tasks; the shared ones are not used.
        in_features: I.
        chain: tasks, two or more.
        calibrator: weight.
        calibrated: (predecessor, task) pairs with probabilities of the same rows.
    """

    in_order: Tensor

    def __init__(
        self,
        experts: CGCSpec,
        in_features: int,
        *,
        chain: Sequence[str],
        calibrator: float,
        calibrated: Sequence[tuple[str, str]],
    ) -> None:
        super().__init__()
        tasks = experts.tasks
        self._first = first = chain[0]
        order = [first, *(task for task in tasks if task != first)]
        self._of_all = len(chain) == len(tasks)
        self._calibrator, self._calibrated = calibrator, tuple(calibrated)
        experts = replace(experts, shared=(), preferred={})
        self.first = CGC(replace(experts, tasks=(first,)), in_features, last=True)
        others = replace(experts, tasks=tuple(order[1:]))
        self.others = CGC(others, in_features, last=True)
        self.transfers = nn.ModuleList(InformationTransfer(experts.width) for _ in chain[1:])
        self._chain = [tasks.index(task) for task in chain]
        in_order = torch.tensor([order.index(task) for task in tasks])
        self.register_buffer("in_order", in_order, persistent=False)
        self.out_features = experts.width
        self.own_width = experts.num_own * experts.width
        self.expert_names = {task: expert_names(task, experts.num_own, 0) for task in tasks}

    @classmethod
    def of(cls, spec: ArchitectureSpec, **options: Any) -> Self:
        """With the task experts of the spec."""
        return cls(spec.experts, spec.in_features, **options)

    def forward(
        self, x: Tensor | MemberInputs, by_task: Tensor | None = None
    ) -> ArchitectureOutput:
        """(B, I) to every task's representation."""
        assert by_task is None
        first, others = self.first(x, x), self.others(x, x)
        tasks = list(
            torch.cat((first.tasks, others.tasks)).index_select(0, self.in_order).unbind(0)
        )
        for before, task, transfer in zip(
            self._chain[:-1], self._chain[1:], self.transfers, strict=True
        ):
            tasks[task] = transfer(tasks[before], tasks[task])
        weights: tuple[Tensor, ...] = ()
        if first.weights is not None:
            weights = (torch.cat((first.weights, others.weights)).index_select(0, self.in_order),)
        own = torch.cat((first.own, others.own)).index_select(0, self.in_order)
        dtype = tasks[self._chain[-1]].dtype
        return ArchitectureOutput(torch.stack([t.to(dtype) for t in tasks]), weights, own)

    def penalty(self, logits: Mapping[str, Tensor], weights: Tensor) -> Tensor | None:
        """The calibrator; None without comparable tasks."""
        if not self._calibrated:
            return None
        excess = torch.stack(
            [
                (logits[task][:, 0].sigmoid() - logits[before][:, 0].sigmoid()).clamp_min(0)
                for before, task in self._calibrated
            ]
        ).sum(0)
        return self._calibrator * (excess * weights).sum() / weights.sum().clamp_min(1e-12)

    def gate_parameters(self) -> list[nn.Parameter]:
        """Of the gates over a task's experts."""
        gates = (level.gate for level in (self.first, self.others))
        return [p for gate in gates if gate is not None for p in gate.parameters()]

    def shared_parameters(self) -> list[Shared]:
        """The first task's experts and gate, if all tasks are in the chain."""
        if (bank := self._shared_bank) is None:
            return []
        gate = self.first.gate
        entries = of_bank(bank, self.expert_names[self._first])
        return entries if gate is None else entries + of_module(gate, f"{self._first}.gate")

    def last_shared_parameters(self) -> list[tuple[nn.Parameter, int]]:
        """Of the first task's experts, likewise."""
        return [] if self._shared_bank is None else self._shared_bank.last_layers()

    def shared_expert_parameters(self) -> list[list[tuple[nn.Parameter, int]]]:
        """Of the first task's experts, likewise."""
        return [] if self._shared_bank is None else self._shared_bank.parameters_per_expert()

    @property
    def _shared_bank(self) -> ExpertBank | None:
        return self.first.task_experts if self._of_all else None
