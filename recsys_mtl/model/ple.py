"""Progressive Layered Extraction: levels of CGC, one after another.

Shapes: B rows, T tasks, I inputs, D expert width, E experts that a task's gate weighs.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from recsys_mtl.model.cgc import CGC, CGCSpec


@dataclass(frozen=True)
class PLEOutput:
    """(T, B, D) tower inputs, and (T, B, E) gate weights of every gated level."""

    tasks: Tensor
    weights: tuple[Tensor, ...]


class PLE(nn.Module):
    """Any number of CGC levels (Tang et al., RecSys 2020, section 4.2).

    At the first level every stream's input is the feature vector; at a later level it is the
    stream's output of the level before.

    Args:
        spec: experts and gates of every level.
        in_features: I.
        levels: 1 is plain CGC.
    """

    def __init__(self, spec: CGCSpec, in_features: int, levels: int) -> None:
        super().__init__()
        self.out_features = spec.width
        self.levels = nn.ModuleList(
            CGC(spec, in_features if level == 0 else spec.width, last=level == levels - 1)
            for level in range(levels)
        )

    def forward(self, x: Tensor) -> PLEOutput:
        """(B, I) feature vectors to every task's mixture of experts."""
        tasks, shared = x, x
        weights = []
        for level in self.levels:
            output = level(tasks, shared)
            tasks = output.tasks
            shared = shared if output.shared is None else output.shared
            if output.weights is not None:
                weights.append(output.weights)
        return PLEOutput(tasks, tuple(weights))

    def shared_expert_parameters(self) -> list[list[tuple[nn.Parameter, int]]]:
        """(parameter, index on its dim 0) of every shared expert, level by level, in order."""
        found = []
        for level in self.levels:
            assert isinstance(level, CGC)
            if level.shared_experts is not None:
                found += level.shared_experts.parameters_per_expert()
        return found
