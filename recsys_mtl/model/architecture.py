"""The protocol of an architecture: from the inputs to one representation of each task.

Shapes: B rows, T tasks, I inputs, D width of a representation, E experts that a task's gate weighs,
O own experts a task, S shared experts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from recsys_mtl.model.cgc import CGCSpec
from recsys_mtl.model.experts import ExpertBank
from recsys_mtl.model.members import MemberInputs

Shared = tuple[str, str, nn.Parameter, int | None]
"""(name, group, parameter, index on its dim 0, or None for all of it)."""


@dataclass(frozen=True)
class ArchitectureSpec:
    """What an architecture is made from, its own settings apart.

    Attributes:
        experts: shared experts, task experts, gates.
        levels: of experts.
        columns: (feature, width) of the inputs, in order; widths add up to I.
        groups: name -> tasks that are believed to be related.
    """

    experts: CGCSpec
    levels: int = 1
    columns: tuple[tuple[str, int], ...] = ()
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def in_features(self) -> int:
        """I."""
        return sum(width for _, width in self.columns)


@dataclass(frozen=True)
class ArchitectureOutput:
    """The output of an architecture.

    Attributes:
        tasks: (T, B, D) tower inputs.
        weights: (T, B, E) float32 gate weights of every gated level.
        own: (T, O, B, D) of the last level's own experts; None without such experts.
        common: (S, B, D) of the last level's shared experts; None without such experts.
    """

    tasks: Tensor
    weights: tuple[Tensor, ...] = ()
    own: Tensor | None = None
    common: Tensor | None = None


class Architecture(nn.Module, ABC):
    """The part of a network between its inputs and its towers.

    Attributes:
        own_tables: whether every task has tables of its own, which `by_task` then holds.
        out_features: D.
        own_width: O · D.
        expert_names: task -> names of the experts that its gate weighs, in order.
    """

    own_tables: ClassVar[bool] = False

    out_features: int
    own_width: int = 0
    expert_names: Mapping[str, tuple[str, ...]]

    @classmethod
    @abstractmethod
    def of(cls, spec: ArchitectureSpec, **options: Any) -> Self:
        """The untrained module.

        Args:
            spec: what every architecture gets.
            **options: of its section of the config.
        """

    @abstractmethod
    def forward(
        self, x: Tensor | MemberInputs, by_task: Tensor | None = None
    ) -> ArchitectureOutput:
        """(B, I) inputs to a representation of each task.

        Args:
            x: (B, I).
            by_task: (T, B, I) inputs of each task: with `own_tables` from its own tables, else a
                copy of `x`, for callers that need each task's gradient there, if `mixes_once`.
        """

    def penalty(self, logits: Mapping[str, Tensor], weights: Tensor) -> Tensor | None:
        """A scalar to add to the loss; None: nothing.

        Args:
            logits: task -> (B, outputs) of the towers.
            weights: (B,) of the rows.
        """
        del logits, weights
        return None

    @property
    def mixes_once(self) -> bool:
        """Whether a task's representation is one mixture of its own and the shared experts."""
        return False

    @property
    def shared_factors(self) -> Tensor | None:
        """(T, S) factors of the tasks' gradients into shared experts; None: one."""
        return None

    def gate_parameters(self) -> list[nn.Parameter]:
        """Of the gates, to freeze them."""
        return []

    def shared_parameters(self) -> list[Shared]:
        """What all tasks share, for combiners; a group is an expert."""
        return []

    def last_shared_parameters(self) -> list[tuple[nn.Parameter, int]]:
        """(parameter, index on its dim 0) of the last layer of every last shared expert."""
        return []

    def shared_expert_parameters(self) -> list[list[tuple[nn.Parameter, int]]]:
        """(parameter, index on its dim 0) of every shared expert, in order."""
        return []


def of_bank(bank: ExpertBank, groups: Sequence[str]) -> list[Shared]:
    """The parameters of a bank's experts, each expert under its name."""
    experts = bank.named_parameters_per_expert()
    return [
        (f"{group}.{name}", group, parameter, index)
        for group, parameters in zip(groups, experts, strict=True)
        for name, parameter, index in parameters
    ]


def of_module(module: nn.Module, group: str) -> list[Shared]:
    """All parameters of a module as one group."""
    return [(f"{group}.{name}", group, p, None) for name, p in module.named_parameters()]
