"""From a config to the parts of a training run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from recsys_mtl.config.schema import Config
from recsys_mtl.config.task_facts import larger_is_better
from recsys_mtl.config.training import AveragingConfig, EmaConfig, SwaConfig
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.losses import Balancer, TaskLosses, Through, make_balancer
from recsys_mtl.model import MultiTaskNetwork
from recsys_mtl.model.device import Precision
from recsys_mtl.tasks import ToUnit, kind_of
from recsys_mtl.training import TrainingPlan
from recsys_mtl.training.average import Averaging
from recsys_mtl.training.evaluate import Evaluator
from recsys_mtl.training.gradnorm import GradNormBalancer
from recsys_mtl.training.optim import make_optimizer
from recsys_mtl.training.step import TrainingStep
from recsys_mtl.training.transfer import Transfer
from recsys_mtl.wiring.adatt import build_transfer
from recsys_mtl.wiring.combiner import build_combining


def build_losses(config: Config, *, thinned: bool = False) -> TaskLosses:
    """One loss per task, in the config's order.

    Args:
        config: the run.
        thinned: whether the rows are those that `data.negatives` keeps.
    """
    tasks = config.tasks.items()
    through = {
        name: Through(
            task.parent,
            task.on_all_rows,
            task.term.name,
            **task.term.model_dump(exclude={"name"}),
        )
        for name, task in tasks
        if task.parent is not None
    }
    losses = {name: kind_of(task.kind).loss(task) for name, task in tasks}
    negatives = config.data.negatives
    if thinned and negatives is not None and negatives.task in losses:
        own = losses[negatives.task]
        losses[negatives.task] = replace(own, keep=negatives.keep)
    return TaskLosses(losses, through)


def build_balancer(config: Config, device: torch.device | str) -> Balancer:
    """The balancing of the task losses, the fixed weights included."""
    weights = torch.tensor([task.weight for task in config.tasks.values()])
    options, name = config.balancing.model_dump(exclude={"name"}), config.balancing.name
    if name == "gradnorm":
        return GradNormBalancer(weights, **options).to(device)
    return make_balancer(name, weights, **options).to(device)


def build_step(config: Config, network: MultiTaskNetwork, device: torch.device) -> TrainingStep:
    """The training step of a config for that network."""
    training = config.training
    balancer, losses = build_balancer(config, device), build_losses(config, thinned=True)
    transfer = build_transfer(config, network, losses, device)
    if "experts" in training.freeze:
        network.ple.requires_grad_(False)
    if training.compile == "on":
        compile_dense(network)
    if training.compile == "graph":
        capture_dense(network)
    dense = {id(p) for p in network.dense_parameters() if p.requires_grad}
    named = [(name, p) for name, p in network.named_parameters() if id(p) in dense]
    return TrainingStep(
        network,
        losses,
        balancer,
        make_optimizer(
            [*named, *balancer.named_parameters(), *_learned(transfer)],
            learning_rate=training.optimizer.learning_rate,
            weight_decay=training.optimizer.weight_decay,
        ),
        precision=training.precision,
        clip_norm=training.optimizer.clip_norm,
        table_learning_rate=0.0 if "tables" in training.freeze else training.tables.learning_rate,
        transfer=transfer,
        combining=build_combining(config, network, losses),
        captured=training.compile == "graph",
    )


def compile_dense(network: MultiTaskNetwork, **options: Any) -> None:
    """Compile experts and towers in place: the names of the weights stay.

    Args:
        network: the model.
        options: of `torch.compile`.
    """
    from torch._functorch import config as functorch_config  # imports much

    functorch_config.donated_buffer = False  # combiners pass backward through a graph many times
    for part in (network.ple, network.towers):
        part.compile(**options)


def capture_dense(network: MultiTaskNetwork, backend: str = "inductor") -> None:
    """Let experts and towers train as CUDA graphs, one for each size of a batch.

    Evaluation stays eager: a graph's outputs do not outlive its next run.

    Args:
        network: the model.
        backend: of `torch.compile`; `inductor` captures graphs.
    """
    mode = "reduce-overhead" if backend == "inductor" else None
    for part in (network.ple, network.towers):
        captured = torch.compile(part.forward, backend=backend, mode=mode, dynamic=False)
        part.forward = partial(_training_or_not, part, captured, part.forward)  # type: ignore[method-assign]


def _training_or_not(
    part: nn.Module, training: Callable[..., Any], other: Callable[..., Any], *args: Any
) -> Any:
    return (training if part.training else other)(*args)


def _learned(transfer: Transfer | None) -> Iterable[tuple[str, nn.Parameter]]:
    return () if transfer is None else transfer.named_parameters()


def build_evaluator(
    config: Config, preprocessor: Preprocessor, *, precision: Precision
) -> Evaluator:
    """The evaluation of a config's tasks in the given precision."""
    return Evaluator(
        tasks=preprocessor.spec.tasks,
        losses=build_losses(config),
        inverse=inverses(preprocessor),
        precision=precision,
        calibration_bins=config.evaluation.calibration_bins,
        top_k=config.evaluation.top_k,
        keys=preprocessor.keys,
    )


def inverses(preprocessor: Preprocessor) -> Mapping[str, ToUnit]:
    """For each task, the function from targets and predictions to the label's own unit."""
    return {name: label.to_unit for name, label in preprocessor.labels.items()}


def build_plan(config: Config) -> TrainingPlan:
    """How long to train and when to stop."""
    training, stopping = config.training, config.training.early_stopping
    metric = stopping.metric.rpartition("/")[2]
    return TrainingPlan(
        epochs=training.epochs,
        schedule=training.optimizer.schedule,
        warmup=training.optimizer.warmup,
        larger_is_better=metric != "loss" and larger_is_better(metric),
        patience=stopping.patience,
        min_delta=stopping.min_delta,
        keep_best=stopping.keep == "best",
        max_nonfinite=training.max_nonfinite,
        averaging=_averaging(training.averaging),
    )


def _averaging(section: AveragingConfig) -> Averaging | None:
    match section:
        case EmaConfig():
            return Averaging(section.decay)
        case SwaConfig():
            return Averaging(None, section.start)
    return None
