"""HoME: a hierarchy of gated experts, of all tasks, of groups of tasks and of each task.

Shapes: B rows, T tasks, C groups of tasks, I inputs, D expert width, S shared experts (of all tasks
and of each group), O own experts a task.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from recsys_mtl.model.batch_norm import GroupedBatchNorm
from recsys_mtl.model.cgc import CGCSpec, gate_of, mix
from recsys_mtl.model.experts import ExpertGroup
from recsys_mtl.model.gates import expert_names
from recsys_mtl.model.grouped import GroupedLinear, GroupedMLP, HiddenLayers
from recsys_mtl.model.members import MemberInputs, multiplied

OTHERS = "others"
"""Name of the group of the tasks that are in none."""


class FeatureGate(nn.Module):
    """G gates of the inputs' columns, each a mixture of low-rank maps.

    Σ_l softmax(W x)_l · 2 · sigmoid(A_l B_l x), so that experts of one input do not share every
    gradient into it.

    Args:
        groups: G.
        in_features: I.
        loras: maps.
        rank: of each.
    """

    def __init__(self, groups: int, in_features: int, loras: int, rank: int) -> None:
        super().__init__()
        self.loras = loras
        self.down = GroupedLinear(groups * loras, in_features, rank, bias=False)
        self.up = GroupedLinear(groups * loras, rank, in_features, bias=False)
        self.mix = GroupedLinear(groups, in_features, loras, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, I) or (G, B, I) to (G, B, I)."""
        repeated = x.repeat_interleave(self.loras, 0) if x.dim() == 3 else x
        gates = 2 * torch.sigmoid(self.up(self.down(repeated)))
        weights = torch.softmax(self.mix(x).float(), -1).to(gates.dtype)
        return torch.einsum("gbl,glbi->gbi", weights, gates.view(-1, self.loras, *x.shape[-2:]))


class GatedExperts(nn.Module):
    """G experts `swish(batch norm(mlp(x ⊙ feature gate(x))))`.

    Args:
        groups: G.
        in_features: I.
        hidden: widths of the mlp, the last its output D.
        layers: its hidden layers but the last.
        loras: of the feature gates.
        rank: of the feature gates.
    """

    def __init__(
        self,
        groups: int,
        in_features: int,
        hidden: Sequence[int],
        *,
        layers: HiddenLayers,
        loras: int,
        rank: int,
    ) -> None:
        super().__init__()
        self.gate = FeatureGate(groups, in_features, loras, rank)
        self.hidden = GroupedMLP(groups, in_features, hidden[:-1], layers)
        self.last = GroupedLinear(groups, self.hidden.out_features, hidden[-1])
        self.norm = GroupedBatchNorm(groups, hidden[-1])

    def forward(self, x: Tensor) -> Tensor:
        """(B, I) or (G, B, I) to (G, B, D)."""
        gated = x * self.gate(x).to(x.dtype)
        outputs: Tensor = nn.functional.silu(self.norm(self.last(self.hidden(gated))))
        return outputs

    def parameters_of(self, expert: int) -> list[tuple[str, nn.Parameter, int]]:
        """(name, parameter, index on its dim 0) of one expert; a low-rank map is an entry."""
        entries = []
        for name, parameter in self.named_parameters():
            each = len(parameter) // self.norm.weight.shape[0]
            for number in range(each):
                suffix = f".{number}" if each > 1 else ""
                entries.append((f"{name}{suffix}", parameter, expert * each + number))
        return entries


class HoME(Architecture):
    """Hierarchy of multi-gate experts (Wang et al., KDD 2025; arXiv 2408.05430).

    The meta layer gives one representation of each group of tasks (a gate over the group's experts
    and the shared ones) and one of all tasks (a gate over all experts). In the task layer, experts
    of all tasks read the latter; experts of a group and of a task read their group's; a task's
    gate, of both, mixes its own, its group's and the shared ones. To each mixture a self gate adds
    the target's own experts once more: they are trained whatever the gate prefers.

    Args:
        experts: one mlp of the shared experts, of which each group gets as many, and one of the
            tasks; the last layer of both is as wide as the widest.
        in_features: I.
        groups: name -> tasks; tasks in none are a group, `others`.
        loras: low-rank maps of a feature gate.
        rank: of each.
    """

    group_of: Tensor

    def __init__(
        self,
        experts: CGCSpec,
        in_features: int,
        groups: Mapping[str, Sequence[str]],
        *,
        loras: int,
        rank: int,
    ) -> None:
        super().__init__()
        tasks, (shared,), (own,) = experts.tasks, experts.shared, experts.own
        self.groups = _groups(tasks, groups)
        self.register_buffer("group_of", torch.tensor(_group_of(tasks, self.groups)), False)
        many, each, of_task = len(self.groups), shared.count, own.count
        self._each, self._own = each, of_task
        self.out_features = width = experts.width
        self.own_width = of_task * width

        def bank(count: int, inputs: int, group: ExpertGroup) -> GatedExperts:
            hidden, layers = (*group.hidden[:-1], width), experts.layers
            return GatedExperts(count, inputs, hidden, layers=layers, loras=loras, rank=rank)

        def gate(count: int, weighed: int, inputs: int) -> GroupedLinear:
            return gate_of(torch.zeros(count, weighed), inputs)

        self.meta_shared = bank(each, in_features, shared)
        self.meta_groups = bank(many * each, in_features, shared)
        self.shared_gate = gate(1, each + many * each, in_features)
        self.shared_self_gate = gate(1, each, in_features)
        self.group_gate = gate(many, 2 * each, in_features)
        self.group_self_gate = gate(many, each, in_features)
        self.shared_experts = bank(each, width, shared)
        self.group_experts = bank(many * each, width, shared)
        self.task_experts = bank(len(tasks) * of_task, width, own)
        self.task_gate = gate(len(tasks), of_task + 2 * each, 2 * width)
        self.task_self_gate = gate(len(tasks), of_task, 2 * width)
        self.expert_names = dict(self._names(tasks))

    @classmethod
    def of(cls, spec: ArchitectureSpec, **options: Any) -> Self:
        """With the experts and groups of the spec."""
        return cls(spec.experts, spec.in_features, spec.groups, **options)

    def _names(self, tasks: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
        names = list(self.groups)
        for task, group in zip(tasks, self.group_of.tolist(), strict=True):
            own, shared = expert_names(task, self._own, 0), expert_names(task, 0, self._each)
            yield task, (*own, *_numbered(f"group.{names[group]}", self._each), *shared)

    def forward(
        self, x: Tensor | MemberInputs, by_task: Tensor | None = None
    ) -> ArchitectureOutput:
        """(B, I) to every task's representation."""
        assert by_task is None
        of_groups, of_all = self._meta(multiplied(x))
        groups = (len(self.groups), self._each)
        inputs = of_groups.index_select(0, self.group_of)
        own = self.task_experts(inputs.repeat_interleave(self._own, 0))
        own = own.unflatten(0, (-1, self._own))
        group = self.group_experts(of_groups.repeat_interleave(self._each, 0))
        group = group.unflatten(0, groups).index_select(0, self.group_of)
        common = self.shared_experts(of_all)
        both = torch.cat((inputs, of_all.expand_as(inputs)), -1)
        weights = torch.softmax(self.task_gate(both).float(), -1)
        of_own, of_shared = weights[..., : -self._each], weights[..., -self._each :]
        tasks = _mixed(of_own, torch.cat((own, group), 1)) + _mixed_shared(of_shared, common)
        tasks = tasks + _itself(self.task_self_gate(both), own)
        return ArchitectureOutput(tasks, (weights,), own, common)

    def _meta(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, I) to (C, B, D) of the groups and (B, D) of all tasks."""
        shared = self.meta_shared(x)
        groups = self.meta_groups(x).unflatten(0, (len(self.groups), self._each))
        weights = torch.softmax(self.group_gate(x).float(), -1)
        of_own, of_shared = weights[..., : self._each], weights[..., self._each :]
        of_groups = _mixed(of_own, groups) + _mixed_shared(of_shared, shared)
        of_groups = of_groups + _itself(self.group_self_gate(x), groups)
        weights = torch.softmax(self.shared_gate(x).float(), -1)
        of_all = _mixed_shared(weights, torch.cat((shared, groups.flatten(0, 1))))
        of_all = of_all + _itself(self.shared_self_gate(x), shared.unsqueeze(0))
        return of_groups, of_all.squeeze(0)

    def gate_parameters(self) -> list[nn.Parameter]:
        """Of all gates over experts."""
        gates = (self.shared_gate, self.group_gate, self.task_gate)
        selves = (self.shared_self_gate, self.group_self_gate, self.task_self_gate)
        return [parameter for gate in (*gates, *selves) for parameter in gate.parameters()]

    def shared_parameters(self) -> list[Shared]:
        """The meta layer's experts and shared gates, and the task layer's shared experts."""
        entries: list[Shared] = [
            (f"{name}.{key}", name, parameter, index)
            for name, bank, expert in self._shared_experts()
            for key, parameter, index in bank.parameters_of(expert)
        ]
        for gate in ("shared_gate", "shared_self_gate"):
            entries += of_module(self.get_submodule(gate), f"meta.{gate}")
        return entries

    def last_shared_parameters(self) -> list[tuple[nn.Parameter, int]]:
        """Of the shared experts of the task layer."""
        last = self.shared_experts.last
        return [(p, index) for index in range(self._each) for p in last.parameters()]

    def shared_expert_parameters(self) -> list[list[tuple[nn.Parameter, int]]]:
        """Of the meta layer's experts and the shared ones of the task layer."""
        return [
            [(parameter, index) for _, parameter, index in bank.parameters_of(expert)]
            for _, bank, expert in self._shared_experts()
        ]

    def _shared_experts(self) -> Iterator[tuple[str, GatedExperts, int]]:
        """(name, bank, index in it) of the experts that all tasks reach."""
        of_groups = [name for group in self.groups for name in _numbered(group, self._each)]
        for prefix, bank, names in (
            ("meta.", self.meta_shared, _numbered("shared", self._each)),
            ("meta.group.", self.meta_groups, of_groups),
            ("", self.shared_experts, _numbered("shared", self._each)),
        ):
            for expert, name in enumerate(names):
                yield f"{prefix}{name}", bank, expert


def _numbered(name: str, count: int) -> list[str]:
    return [f"{name}.{index}" for index in range(count)]


def _groups(
    tasks: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """The groups, with one of the tasks that are in none."""
    grouped = {task for group in groups.values() for task in group}
    others = tuple(task for task in tasks if task not in grouped)
    named = {name: tuple(group) for name, group in groups.items()}
    return named | ({_free(OTHERS, named): others} if others else {})


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """The name, with a line below if there is one like it."""
    return _free(f"{name}_", taken) if name in taken else name


def _group_of(tasks: Sequence[str], groups: Mapping[str, Sequence[str]]) -> list[int]:
    """(T,) index of each task's group."""
    index = {task: number for number, group in enumerate(groups.values()) for task in group}
    return [index[task] for task in tasks]


def _mixed(weights: Tensor, experts: Tensor) -> Tensor:
    """(G, B, E) times (G, E, B, D) to (G, B, D)."""
    return mix("gbe,gebd->gbd", weights, experts)


def _mixed_shared(weights: Tensor, experts: Tensor) -> Tensor:
    """(G, B, E) times (E, B, D) to (G, B, D)."""
    return mix("gbe,ebd->gbd", weights, experts)


def _itself(scores: Tensor, experts: Tensor) -> Tensor:
    """(G, B, E) scores of a target's own experts (G, E, B, D): their self-gated sum, (G, B, D)."""
    one = scores.shape[-1] == 1
    weights = torch.sigmoid(scores.float()) if one else torch.softmax(scores.float(), -1)
    return _mixed(weights, experts)
