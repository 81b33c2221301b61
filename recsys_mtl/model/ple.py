"""Progressive Layered Extraction, levels of CGC one after another, and its simpler relatives.

Shapes: B rows, T tasks, I inputs, D expert width, E experts that a task's gate weighs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from recsys_mtl.model.architecture import (
    Architecture,
    ArchitectureOutput,
    ArchitectureSpec,
    Shared,
)
from recsys_mtl.model.cgc import CGC, CGCOutput, CGCSpec
from recsys_mtl.model.gates import expert_names
from recsys_mtl.model.members import MemberInputs


class PLE(Architecture):
    """Any number of CGC levels (Tang et al., RecSys 2020, section 4.2).

    At the first level every stream's input is the feature vector; at a later level it is the
    stream's output of the level before.

    Args:
        spec: experts and gates of every level.
        in_features: I.
        levels: 1 is plain CGC.

    Attributes:
        has_shared: whether there are experts of all tasks.
        has_own: whether there are experts of each task.
        gated: whether gates mix them, or the plain average.
    """

    has_shared: ClassVar[bool] = True
    has_own: ClassVar[bool] = True
    gated: ClassVar[bool] = True

    def __init__(self, spec: CGCSpec, in_features: int, levels: int) -> None:
        super().__init__()
        self.out_features = spec.width
        self.own_width = spec.num_own * spec.width
        self.expert_names = {
            task: expert_names(task, spec.num_own, spec.num_shared) for task in spec.tasks
        }
        self.levels = nn.ModuleList(
            CGC(spec, in_features if level == 0 else spec.width, last=level == levels - 1)
            for level in range(levels)
        )

    @classmethod
    def of(cls, spec: ArchitectureSpec, **options: Any) -> Self:
        """With those experts of the spec that it has."""
        experts = replace(
            spec.experts,
            shared=spec.experts.shared if cls.has_shared else (),
            own=spec.experts.own if cls.has_own else (),
            gated=cls.gated,
        )
        return cls(experts, spec.in_features, spec.levels, **options)

    def forward(
        self, x: Tensor | MemberInputs, by_task: Tensor | None = None
    ) -> ArchitectureOutput:
        """(B, I) feature vectors to every task's mixture of experts.

        Args:
            x: (B, I).
            by_task: (T, B, I) the same vectors, a copy for the gate and own experts of each task,
                for callers that need each task's gradient there; None: all read `x`.
        """
        outputs: list[CGCOutput] = []
        tasks, shared = x if by_task is None else by_task, x
        for level in self.levels:
            outputs.append(level(tasks, shared))
            tasks = outputs[-1].tasks
            shared = shared if outputs[-1].shared is None else outputs[-1].shared
        last = outputs[-1]
        weights = tuple(output.weights for output in outputs if output.weights is not None)
        return ArchitectureOutput(last.tasks, weights, last.own, last.common)

    @property
    def mixes_once(self) -> bool:
        """Whether there is one level."""
        return len(self.levels) == 1

    def scale_shared_gradients(self, factors: Tensor | None) -> None:
        """Multiply each task's gradient into each shared expert; None: unchanged.

        Args:
            factors: (T, S); only for one level, as a later level's shared stream mixes the tasks.
        """
        (level,) = self.levels
        assert isinstance(level, CGC)
        level.shared_factors = factors

    @property
    def shared_factors(self) -> Tensor | None:
        """The factors of `scale_shared_gradients`."""
        first = self.levels[0]
        assert isinstance(first, CGC)
        return first.shared_factors

    def gate_parameters(self) -> list[nn.Parameter]:
        """Of every level's gates."""
        gates = [g for level in self.levels for g in (level.gate, level.shared_gate)]
        return [p for gate in gates if isinstance(gate, nn.Module) for p in gate.parameters()]

    def shared_parameters(self) -> list[Shared]:
        """(name, group, parameter, index on its dim 0) of what all tasks share.

        The shared experts and, at levels before the last, all experts and the shared stream's
        gate. A group is an expert.
        """
        entries = []
        for number, level in enumerate(self.levels):
            assert isinstance(level, CGC)
            before = f"{number}." if len(self.levels) > 1 else ""
            entries += level.shared_parameters(before)
        return entries

    def last_shared_parameters(self) -> list[tuple[nn.Parameter, int]]:
        """(parameter, index on its dim 0) of the last layer of every last shared expert."""
        last = self.levels[-1]
        assert isinstance(last, CGC)
        return [] if last.shared_experts is None else last.shared_experts.last_layers()

    def shared_expert_parameters(self) -> list[list[tuple[nn.Parameter, int]]]:
        """(parameter, index on its dim 0) of every shared expert, level by level, in order."""
        experts = []
        for level in self.levels:
            assert isinstance(level, CGC)
            if level.shared_experts is not None:
                experts += level.shared_experts.parameters_per_expert()
        return experts


class MMoE(PLE):
    """No task experts: each task's gate mixes the shared ones (Ma et al., KDD 2018)."""

    has_own = False


class SharedBottom(PLE):
    """The plain average of the shared experts (with one, Caruana 1997)."""

    has_own = False
    gated = False


class SingleTask(PLE):
    """Task experts only: a network per task on common tables."""

    has_shared = False
