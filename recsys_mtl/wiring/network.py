"""From the `model` section to a network."""

from __future__ import annotations

from dataclasses import replace

import torch

from recsys_mtl.columns.spec import DataSpec
from recsys_mtl.config.experts import CrossExpertConfig, ExpertConfig, FmExpertConfig
from recsys_mtl.config.schema import Config
from recsys_mtl.model import ExpertGroup, HiddenLayers, MultiTaskNetwork, NetworkSpec
from recsys_mtl.model.embeddings_backend import Backend


def build_network(
    config: Config,
    spec: DataSpec,
    *,
    device: torch.device | str = "cpu",
    backend: Backend | None = None,
    sharded: bool = False,
) -> MultiTaskNetwork:
    """The untrained network of a config for data of that shape.

    Args:
        config: the run.
        spec: the facts about the data that the network needs.
        device: where the network is made.
        backend: of the embedding tables; None for the config's.
        sharded: whether several processes may share the tables as the config says, for a training.

    Raises:
        UserError: unknown names in `model`, a cycle in `logit_transfer`, or a table
            backend that does not import.
    """
    return MultiTaskNetwork(
        spec,
        replace(_network_spec(config), imputed=_imputed(config)),
        backend=backend or config.model.embedding.backend,
        table_optimizer=config.training.tables.name,
        table_learning_rate=config.training.tables.learning_rate,
        table_weight_decay=config.training.tables.weight_decay,
        sharding=config.training.tables.sharding if sharded else "replicated",
        device=device,
    )


def _network_spec(config: Config) -> NetworkSpec:
    model = config.model
    layers = HiddenLayers(model.normalization, model.activation, model.dropout)
    return NetworkSpec(
        architecture=model.architecture.name,
        options=model.architecture.options(config.surroundings),
        levels=model.levels,
        shared_experts=tuple(_expert_group(e) for e in model.shared_experts),
        task_experts=tuple(_expert_group(e) for e in model.task_experts),
        match_width=model.match_width,
        gate_entropy=model.gates.entropy,
        preferred=model.gates.preferred,
        tower_hidden=tuple(model.tower.hidden),
        layers=layers,
        tower_layers=replace(layers, dropout=model.tower_dropout),
        members=model.members,
        logit_transfer=tuple((edge.source, edge.target) for edge in model.logit_transfer),
        groups={name: group.tasks for name, group in config.adatt.prior.groups.items()},
    )


def _imputed(config: Config) -> tuple[str, ...]:
    """Tasks whose loss needs an imputation tower."""
    return tuple(name for name, task in config.tasks.items() if task.term.name == "dr")


def _expert_group(expert: ExpertConfig) -> ExpertGroup:
    if isinstance(expert, CrossExpertConfig):
        return ExpertGroup("cross", expert.count, layers=expert.layers, width=expert.width)
    if isinstance(expert, FmExpertConfig):
        return ExpertGroup("fm", expert.count, fields=expert.fields, width=expert.width)
    return ExpertGroup("mlp", expert.count, hidden=tuple(expert.hidden))
