"""One level of Customized Gate Control: expert banks, and gates that mix them.

Shapes: B rows, T tasks, O own experts a task, S shared experts, E = O + S, I inputs, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from recsys_mtl.model.experts import ExpertBank, ExpertGroup, MatchWidth
from recsys_mtl.model.gates import gate_prior
from recsys_mtl.model.grouped import GroupedLinear, HiddenLayers
from recsys_mtl.model.members import MemberInputs
from recsys_mtl.model.scaled_mix import ScaledMix


@dataclass(frozen=True)
class CGCSpec:
    """The settings that all levels of a network share.

    Attributes:
        tasks: task names, T of them.
        shared: experts of all tasks; may be empty.
        own: experts of each task; may be empty, but not both.
        match_width: how experts of unequal width are matched.
        layers: hidden layers of mlp experts.
        gated: False mixes by the plain average (shared-bottom).
        preferred: task -> expert names with an initial gate bias of +1 (others: −1).
    """

    tasks: tuple[str, ...]
    shared: tuple[ExpertGroup, ...]
    own: tuple[ExpertGroup, ...]
    match_width: MatchWidth = "project"
    layers: HiddenLayers = field(default_factory=HiddenLayers)
    gated: bool = True
    preferred: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def num_shared(self) -> int:
        """S."""
        return sum(group.count for group in self.shared)

    @property
    def num_own(self) -> int:
        """O."""
        return sum(group.count for group in self.own)

    @property
    def width(self) -> int:
        """D: the widest expert's output."""
        return max(group.out_width for group in (*self.shared, *self.own))

    @property
    def mean_width(self) -> float:
        """Mean output width over the experts that one task's gate weighs."""
        total = sum(group.count * group.out_width for group in (*self.shared, *self.own))
        return total / (self.num_shared + self.num_own)


@dataclass(frozen=True)
class CGCOutput:
    """The output of a level: (T, B, D) for the tasks, (B, D) for the shared stream, the weights.

    `weights` is (T, B, E), a task's own experts first; None where nothing is gated. `own` is
    (T, O, B, D), outputs of the tasks' own experts, `common` (S, B, D), of the shared ones;
    None without such experts.
    """

    tasks: Tensor
    shared: Tensor | None
    weights: Tensor | None
    own: Tensor | None
    common: Tensor | None


class CGC(nn.Module):
    """A level of PLE (Tang et al., RecSys 2020, equations 1 to 5).

    If `shared_factors` (T, S) is set, task t's gradient into shared expert s is multiplied by its
    entry (t, s), and nothing else changes.

    A task's gate is a softmax over its own and the shared experts, computed from the task's
    input; the shared stream's gate (all levels except the last) spans all experts of all tasks and
    the shared ones. Without own experts this is MMoE, without gates shared-bottom.

    Args:
        spec: experts and gates.
        in_features: I.
        last: the last level has no shared stream.
    """

    def __init__(self, spec: CGCSpec, in_features: int, *, last: bool) -> None:
        super().__init__()
        num_tasks = len(spec.tasks)
        self.tasks = spec.tasks
        self.num_tasks = num_tasks
        self.num_own = spec.num_own
        self.shared_factors: Tensor | None = None
        self.num_mixed = spec.num_own + spec.num_shared
        prior = gate_prior(spec.tasks, spec.preferred, own=spec.num_own, shared=spec.num_shared)
        self.shared_experts = bank_of(spec.shared, 1, spec, in_features) if spec.shared else None
        self.task_experts = bank_of(spec.own, num_tasks, spec, in_features) if spec.own else None
        gated = spec.gated and self.num_mixed > 1
        self.gate = gate_of(prior, in_features) if gated else None
        self.has_shared_stream = not last and bool(spec.shared)
        num_all = num_tasks * spec.num_own + spec.num_shared
        self.shared_gate = (
            gate_of(torch.zeros(1, num_all), in_features)
            if self.has_shared_stream and spec.gated and num_all > 1
            else None
        )

    def forward(self, tasks: Tensor | MemberInputs, shared: Tensor | MemberInputs) -> CGCOutput:
        """Runs the level.

        Args:
            tasks: (B, I) for all tasks at the first level, (T, B, I) later.
            shared: (B, I), input of the shared experts and of the shared stream's gate.
        """
        own = None if self.task_experts is None else self.task_experts(tasks)
        common = None if self.shared_experts is None else self.shared_experts(shared).squeeze(0)
        any_experts = own if common is None else common
        assert any_experts is not None
        weights = self._weights(self.gate, tasks, any_experts, (self.num_tasks, self.num_mixed))
        return CGCOutput(
            tasks=self._mix_tasks(own, common, weights),
            shared=self._mix_shared(own, common, shared) if self.has_shared_stream else None,
            weights=None if self.gate is None else weights,
            own=own,
            common=common,
        )

    def shared_parameters(self, before: str) -> list[tuple[str, str, nn.Parameter, int | None]]:
        """See `PLE.shared_parameters`; names begin with `before`."""
        entries: list[tuple[str, str, nn.Parameter, int | None]] = []
        banks: list[tuple[ExpertBank | None, tuple[str, ...]]] = [
            (self.shared_experts, ("shared",))
        ]
        if self.has_shared_stream:
            banks.append((self.task_experts, self.tasks))
        for bank, owners in banks:
            experts = [] if bank is None else bank.named_parameters_per_expert()
            for expert, parameters in enumerate(experts):
                owner, number = divmod(expert, len(experts) // len(owners))
                group = f"{before}{owners[owner]}.{number}"
                entries += [(f"{group}.{name}", group, p, index) for name, p, index in parameters]
        if self.shared_gate is not None:
            group = f"{before}shared_gate"
            entries += [
                (f"{group}.{n}", group, p, None) for n, p in self.shared_gate.named_parameters()
            ]
        return entries

    @staticmethod
    def _weights(
        gate: nn.Module | None, x: Tensor | MemberInputs, outputs: Tensor, shape: tuple[int, int]
    ) -> Tensor:
        """(gates, B, experts) float32 weights that sum to 1; equal weights without a gate."""
        if gate is None:
            gates, experts = shape
            size = gates, outputs.shape[-2], experts
            return outputs.new_full(size, 1.0 / experts, dtype=torch.float32)
        return torch.softmax(gate(x).float(), -1)

    def _mix_tasks(self, own: Tensor | None, shared: Tensor | None, weights: Tensor) -> Tensor:
        """(T, O, B, D) and (S, B, D), weighted by (T, B, E), to (T, B, D)."""
        of_own, of_shared = torch.split(weights, [self.num_own, self.num_mixed - self.num_own], -1)
        common = None if shared is None else self._mix_common(of_shared, shared)
        if own is None:
            assert common is not None
            return common
        mixed = mix("tbo,tobd->tbd", of_own, own)
        return mixed if common is None else mixed + common

    def _mix_common(self, weights: Tensor, shared: Tensor) -> Tensor:
        """(T, B, S) times (S, B, D) to (T, B, D)."""
        if self.shared_factors is None:
            return mix("tbs,sbd->tbd", weights, shared)
        factors = self.shared_factors
        mixed: Tensor = ScaledMix.apply(weights.to(shared.dtype), shared, factors)  # type: ignore[no-untyped-call]
        return mixed

    def _mix_shared(
        self, own: Tensor | None, shared: Tensor | None, x: Tensor | MemberInputs
    ) -> Tensor:
        """All experts of all tasks, then the shared ones, to (B, D)."""
        parts = [p for p in (None if own is None else own.flatten(0, 1), shared) if p is not None]
        experts = torch.cat(parts)
        weights = self._weights(self.shared_gate, x, experts, (1, len(experts)))
        return mix("be,ebd->bd", weights.squeeze(0), experts)


def bank_of(
    groups: tuple[ExpertGroup, ...], copies: int, spec: CGCSpec, in_features: int
) -> ExpertBank:
    """`copies` of those experts, with the width and the layers of the spec."""
    return ExpertBank(
        groups,
        copies=copies,
        in_features=in_features,
        out_features=spec.width,
        scale_to=spec.mean_width if spec.match_width == "scale" else None,
        layers=spec.layers,
    )


def gate_of(prior: Tensor, in_features: int) -> GroupedLinear:
    """Gates with initial biases `prior`, (number of gates, number of experts)."""
    gate = GroupedLinear(prior.shape[0], in_features, prior.shape[1])
    assert gate.bias is not None
    with torch.no_grad():
        gate.bias.copy_(prior)
    return gate


def mix(equation: str, weights: Tensor, experts: Tensor | None) -> Tensor:
    """A weighted sum in the experts' precision."""
    assert experts is not None
    mixed: Tensor = torch.einsum(equation, weights.to(experts.dtype), experts)
    return mixed
