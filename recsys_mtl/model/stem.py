"""STEM: shared and task-specific embeddings, experts of each.

Shapes: B rows, T tasks, I inputs, D expert width, O own experts a task, S shared experts.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from recsys_mtl.model.architecture import (
    Architecture,
    ArchitectureOutput,
    ArchitectureSpec,
    Shared,
    of_bank,
)
from recsys_mtl.model.cgc import CGCSpec, bank_of, gate_of
from recsys_mtl.model.gates import expert_names
from recsys_mtl.model.members import MemberInputs, multiplied


class STEM(Architecture):
    """STEM-Net of one layer (Su et al., AAAI 2024).

    The shared experts read the shared embeddings, a task's experts its own. A task's gate, of the
    sum of both inputs, weighs the experts of all tasks and the shared ones, but trains only the
    task's own and the shared ones ("all forward, task-specific backward"). So a task's tables learn
    from that task alone. Inputs that are not embedded from a table are the same for all.

    Args:
        experts: shared and of the tasks.
        in_features: I.
    """

    own_tables = True

    def __init__(self, experts: CGCSpec, in_features: int) -> None:
        super().__init__()
        tasks, own, shared = experts.tasks, experts.num_own, experts.num_shared
        self._own, self._tasks = own, len(tasks)
        self.shared_experts = bank_of(experts.shared, 1, experts, in_features)
        self.task_experts = bank_of(experts.own, len(tasks), experts, in_features)
        self.gate = gate_of(torch.zeros(len(tasks), len(tasks) * own + shared), in_features)
        self.out_features = experts.width
        self.own_width = own * experts.width
        of_tasks = [name for task in tasks for name in expert_names(task, own, 0)]
        self.shared_names = expert_names("", 0, shared)
        self.expert_names = dict.fromkeys(tasks, (*of_tasks, *self.shared_names))

    @classmethod
    def of(cls, spec: ArchitectureSpec, **options: Any) -> Self:
        """With the experts of the spec."""
        return cls(spec.experts, spec.in_features, **options)

    def forward(
        self, x: Tensor | MemberInputs, by_task: Tensor | None = None
    ) -> ArchitectureOutput:
        """(B, I) of the shared tables and (T, B, I) of the tasks' to their representations."""
        assert by_task is not None
        common = self.shared_experts(x).squeeze(0)
        own = self.task_experts(by_task)
        weights = torch.softmax(self.gate(by_task + multiplied(x)).float(), -1)
        narrow = weights.to(common.dtype)
        of_tasks, of_shared = narrow[..., : -len(common)], narrow[..., -len(common) :]
        of_tasks = of_tasks.view(*of_tasks.shape[:2], self._tasks, self._own)
        itself = torch.eye(self._tasks, dtype=of_tasks.dtype, device=of_tasks.device)
        of_others = of_tasks * (1 - itself)[:, None, :, None]
        mixed = torch.einsum("tbs,sbd->tbd", of_shared, common)
        mixed = mixed + torch.einsum("tbuo,uobd->tbd", of_others, own.detach())
        of_own = of_tasks.diagonal(dim1=0, dim2=2)  # (B, O, T)
        mixed = mixed + torch.einsum("bot,tobd->tbd", of_own, own)
        return ArchitectureOutput(mixed, (weights,), own, common)

    def gate_parameters(self) -> list[nn.Parameter]:
        """Of the tasks' gates."""
        return list(self.gate.parameters())

    def shared_parameters(self) -> list[Shared]:
        """The shared experts."""
        return of_bank(self.shared_experts, self.shared_names)

    def last_shared_parameters(self) -> list[tuple[nn.Parameter, int]]:
        """Of the shared experts."""
        return self.shared_experts.last_layers()

    def shared_expert_parameters(self) -> list[list[tuple[nn.Parameter, int]]]:
        """Of the shared experts."""
        return self.shared_experts.parameters_per_expert()
