"""The section `model`: the network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from recsys_mtl.config.architecture import ArchitectureConfig, ExpertsConfig
from recsys_mtl.config.experts import ExpertConfig, MlpExpertConfig
from recsys_mtl.config.section import Fraction, NonNegative, Section


class EmbeddingConfig(Section):
    """Embedding tables and their backend."""

    dim: PositiveInt | Literal["auto"] = Field(
        16,
        description="width of tables that name none; auto: of n known values 1.6 · n^0.56, in "
        "steps of 4, at most 32",
    )
    unknown_dropout: NonNegative = Field(
        0.0,
        description="α: training reads a value of n rows as unknown with probability α / (n + α), "
        "so that the unknown row is trained; 0.25 is usual",
    )
    backend: Literal["auto", "torchrec", "plain"] = Field(
        "auto",
        description="auto takes torchrec's fused tables where they import, else plain, and on a "
        "CPU plain up to 262,144 weights, which starts sooner",
    )


class GatesConfig(Section):
    """Prior and regularisation of the CGC gates."""

    entropy: NonNegative = Field(0.01, description="weight of the entropy regulariser")
    preferred: dict[str, list[str]] = Field(
        {},
        description="task -> expert names (shared.0, ctr.1): gate bias +1 there, -1 on the task's "
        "other experts",
    )


class TowerConfig(Section):
    """A task's own network on top of its experts."""

    hidden: list[PositiveInt] = Field([64, 32], description="layer widths; may be empty")


class LogitTransferConfig(Section):
    """A residual from one task's output into another's tower input."""

    source: str = Field(description="task whose logit is read; not a retrieval task")
    target: str = Field(description="task whose tower input it is added to")


class ModelConfig(Section):
    """The network: embeddings, experts, gates, towers."""

    architecture: ArchitectureConfig = Field(
        ExpertsConfig(),
        description="how the inputs become one representation of each task; a name, or a mapping "
        "with `name`",
    )
    embedding: EmbeddingConfig = EmbeddingConfig()
    levels: PositiveInt = Field(1, description="CGC levels; more than one only for ple")
    shared_experts: list[ExpertConfig] = Field(
        [MlpExpertConfig(count=2)], min_length=1, description="experts of all tasks, at every level"
    )
    task_experts: list[ExpertConfig] = Field(
        [MlpExpertConfig(count=1)], min_length=1, description="experts of each task, at every level"
    )
    match_width: Literal["project", "scale"] = Field(
        "project",
        description="experts of unequal width: project to the widest, or zero-pad and scale by "
        "sqrt(mean width / width)",
    )
    gates: GatesConfig = GatesConfig()
    tower: TowerConfig = TowerConfig()
    members: Annotated[int, Field(ge=1, le=256)] = Field(
        1,
        description="networks that share all but a learned scaling of the inputs and their output "
        "layers; their mean predicts (BatchEnsemble, TabM)",
    )
    normalization: Literal["layer", "none"] = Field(
        "layer", description="before the activation, in mlp experts and towers"
    )
    activation: Literal["silu", "relu"] = Field(
        "silu", description="of the hidden layers of mlp experts and towers"
    )
    dropout: Fraction = Field(0.1, description="after each hidden layer of mlp experts")
    tower_dropout: Fraction = Field(0.2, description="after each hidden layer of a tower")
    logit_transfer: list[LogitTransferConfig] = Field([], description="task pairs, without a cycle")
