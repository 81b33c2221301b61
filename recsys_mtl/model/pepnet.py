"""PEPNet: gates by prior features scale the inputs and the layers of every task's network.

Shapes: B rows, T tasks, I inputs, D width of the tasks' networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Self

import torch
from torch import Tensor, nn

from recsys_mtl.model.architecture import (
    Architecture,
    ArchitectureOutput,
    ArchitectureSpec,
    Shared,
    of_module,
)
from recsys_mtl.model.cgc import CGCSpec
from recsys_mtl.model.gates import expert_names
from recsys_mtl.model.grouped import GroupedLinear, GroupedMLP
from recsys_mtl.model.members import MemberInputs, multiplied


class GateUnit(nn.Module):
    """G gate neural units: 2 · sigmoid(W' relu(W x + b) + b'), around 1 (equations 1 and 2)."""

    def __init__(self, groups: int, in_features: int, hidden: int, out_features: int) -> None:
        super().__init__()
        self.cross = GroupedLinear(groups, in_features, hidden)
        self.score = GroupedLinear(groups, hidden, out_features)

    def forward(self, x: Tensor) -> Tensor:
        """(B, I) to (G, B, O)."""
        scores: Tensor = self.score(torch.relu(self.cross(x)))
        return 2 * torch.sigmoid(scores)


class PEPNet(Architecture):
    """Parameter and embedding personalised network (Chang et al., KDD 2023).

    EPNet scales the inputs by a gate of the domain features, PPNet every hidden layer of every
    task's network by a gate of the prior features (equations 4 and 6). A gate also reads the other
    inputs, without a gradient into them.

    Args:
        experts: the tasks' networks, one mlp each.
        columns: (feature, width) of the inputs.
        domain: features of EPNet, by name or pattern; empty: there is none.
        prior: features of PPNet, likewise.
        hidden: width of a gate's hidden layer.
    """

    of_domain: Tensor
    of_prior: Tensor

    def __init__(
        self,
        experts: CGCSpec,
        columns: Sequence[tuple[str, int]],
        *,
        domain: Sequence[str],
        prior: Sequence[str],
        hidden: int,
    ) -> None:
        super().__init__()
        (group,), tasks = experts.own, len(experts.tasks)
        inputs = sum(width for _, width in columns)
        for name, chosen in (("of_domain", domain), ("of_prior", prior)):
            mask = [_is_of(column, chosen) for column, width in columns for _ in range(width)]
            self.register_buffer(name, torch.tensor(mask), persistent=False)
        self.epnet = GateUnit(1, inputs, hidden, inputs) if domain else None
        self.ppnet = nn.ModuleList(
            GateUnit(tasks, inputs, hidden, width) for width in group.hidden if prior
        )
        self.networks = GroupedMLP(tasks, inputs, group.hidden, experts.layers)
        self.out_features = self.own_width = group.hidden[-1]
        self.expert_names = {task: expert_names(task, 1, 0) for task in experts.tasks}

    @classmethod
    def of(cls, spec: ArchitectureSpec, **options: Any) -> Self:
        """With the task experts of the spec."""
        return cls(spec.experts, spec.columns, **options)

    def forward(
        self, x: Tensor | MemberInputs, by_task: Tensor | None = None
    ) -> ArchitectureOutput:
        """(B, I) to every task's representation."""
        assert by_task is None
        inputs = scaled = multiplied(x)
        if self.epnet is not None:
            gate = self.epnet(torch.where(self.of_domain, inputs, inputs.detach()))
            scaled = inputs * gate.squeeze(0).to(inputs.dtype)
        prior = torch.where(self.of_prior, inputs, scaled.detach())
        gates = [unit(prior) for unit in self.ppnet] or None
        tasks = self.networks(scaled, gates)
        return ArchitectureOutput(tasks, own=tasks.unsqueeze(1))

    def shared_parameters(self) -> list[Shared]:
        """EPNet."""
        return [] if self.epnet is None else of_module(self.epnet, "epnet")


def _is_of(column: str, chosen: Sequence[str]) -> bool:
    return any(column == name or fnmatchcase(column, name) for name in chosen)
