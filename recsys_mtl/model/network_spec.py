"""The shape of a network, in plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recsys_mtl.model.cgc import CGCSpec
from recsys_mtl.model.experts import ExpertGroup, MatchWidth
from recsys_mtl.model.grouped import HiddenLayers


@dataclass(frozen=True)
class NetworkSpec:
    """The shape of a network.

    Attributes:
        architecture: name of a class in `recsys_mtl.model.architectures`.
        options: of that class.
        levels: of experts.
        shared_experts: of all tasks, where the architecture has them.
        task_experts: of each task, likewise.
        match_width: `project` or `scale`, see `ExpertBank`.
        gate_entropy: weight of the gates' entropy in `Outputs.penalty`.
        preferred: task -> expert names whose gate bias starts at +1 (the others at −1).
        tower_hidden: widths of a tower's hidden layers.
        layers: hidden layers of mlp experts.
        tower_layers: hidden layers of towers.
        members: networks that share all but their scaling of the inputs and their output layers.
        logit_transfer: (source task, target task) pairs.
        groups: name -> related tasks.
        imputed: tasks behind others with an imputation tower.
    """

    architecture: str = "ple"
    options: Mapping[str, Any] = field(default_factory=dict)
    levels: int = 1
    shared_experts: tuple[ExpertGroup, ...] = (ExpertGroup(count=2),)
    task_experts: tuple[ExpertGroup, ...] = (ExpertGroup(),)
    match_width: MatchWidth = "project"
    gate_entropy: float = 0.01
    preferred: Mapping[str, Sequence[str]] = field(default_factory=dict)
    tower_hidden: tuple[int, ...] = (64, 32)
    layers: HiddenLayers = field(default_factory=HiddenLayers)
    tower_layers: HiddenLayers = field(default_factory=lambda: HiddenLayers(dropout=0.2))
    members: int = 1
    logit_transfer: tuple[tuple[str, str], ...] = ()
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    imputed: tuple[str, ...] = ()

    def experts(self, tasks: tuple[str, ...]) -> CGCSpec:
        """The experts that an architecture may have."""
        return CGCSpec(
            tasks=tasks,
            shared=self.shared_experts,
            own=self.task_experts,
            match_width=self.match_width,
            layers=self.layers,
            preferred=self.preferred,
        )
