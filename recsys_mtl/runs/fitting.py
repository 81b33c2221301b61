"""Train one network on prepared data: the part that `train`, its baselines and ablations share."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from recsys_mtl.config.adatt import AdaTTConfig
from recsys_mtl.config.combiner import SumConfig
from recsys_mtl.config.schema import Config
from recsys_mtl.config.training import BalancingConfig
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.loader import Loader
from recsys_mtl.data.prepare import Prepared
from recsys_mtl.metrics import Undefined
from recsys_mtl.model import MultiTaskNetwork
from recsys_mtl.training.device import check_precision, pick_device
from recsys_mtl.training.evaluate import Scores
from recsys_mtl.training.loop import Epoch, FitResult, fit
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_evaluator, build_plan, build_step

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitted:
    """A trained network with the best epoch's weights, and how it came to be."""

    network: MultiTaskNetwork
    result: FitResult
    device: torch.device


def fit_network(
    config: Config,
    prepared: Prepared,
    *,
    on_epoch: Callable[[Epoch, Scores], None] = lambda epoch, scores: None,
) -> Fitted:
    """Build the config's network and train it on the prepared data.

    The config's seed governs initialisation, dropout and the order of the rows.

    Args:
        config: the run.
        prepared: its data.
        on_epoch: told of every epoch and its scores on the validation rows.

    Raises:
        UserError: the device or precision cannot be had, or training diverges.
    """
    training = config.training
    device = pick_device(training.device)
    check_precision(training.precision, device)
    if training.threads is not None:
        torch.set_num_threads(training.threads)
    torch.manual_seed(config.seed)
    network = build_network(config, prepared.preprocessor.spec, device=device)
    step = build_step(config, network, device)
    evaluator = build_evaluator(config, prepared.preprocessor, precision=training.precision)
    latest: list[Scores] = []

    def validate(epoch: int) -> float | None:
        latest[:] = [evaluator(network, prepared.loaders["valid"])]
        return watched(config, latest[0])

    def report(epoch: Epoch) -> None:
        log.info(
            "epoch %d/%d: %.0f rows/s, validation %s %s",
            epoch.number + 1,
            training.epochs,
            epoch.rows_per_second,
            training.early_stopping.metric,
            "undefined" if epoch.score is None else f"{epoch.score:.5f}",
        )
        on_epoch(epoch, latest[0])

    result = fit(
        step,
        prepared.loaders["train"],
        validate,
        build_plan(config),
        tasks=tuple(config.tasks),
        on_epoch=report,
    )
    return Fitted(network, result, device)


def watched(config: Config, scores: Scores) -> float | None:
    """The value that early stopping watches; None where it is undefined."""
    task, _, metric = config.training.early_stopping.metric.rpartition("/")
    if not task:
        loss = scores.mean_loss({name: t.weight for name, t in config.tasks.items()})
        return None if loss is None or math.isnan(loss) else loss
    value = scores.metrics[task][metric]
    return None if isinstance(value, Undefined) or math.isnan(value) else value


def one_task(config: Config, prepared: Prepared, task: str) -> tuple[Config, Prepared]:
    """The same run with a single task; it lacks the other tasks, and what needs two of them.

    The network keeps all the experts that the task's gate mixes and has tables of its own. Early
    stopping keeps its metric where that is the task's own, else it watches the loss.
    """
    column = list(config.tasks).index(task)
    stopping = config.training.early_stopping
    if stopping.metric.rpartition("/")[0] != task:
        stopping = stopping.model_copy(update={"metric": "loss"})
    preferred = {name: e for name, e in config.model.gates.preferred.items() if name == task}
    gates = config.model.gates.model_copy(update={"preferred": preferred})
    model = config.model.model_copy(update={"gates": gates, "logit_transfer": []})
    gradnorm = config.balancing.name == "gradnorm"
    balancing = BalancingConfig() if gradnorm else config.balancing
    single = config.model_copy(
        update={
            "tasks": {task: config.tasks[task]},
            "model": model,
            "adatt": AdaTTConfig(),
            "combiner": SumConfig(),
            "balancing": balancing,
            "training": config.training.model_copy(update={"early_stopping": stopping}),
        }
    )
    pre = prepared.preprocessor
    narrowed = replace(
        pre,
        labels={task: pre.labels[task]},
        conditions={name: c for name, c in pre.conditions.items() if name == task},
    )
    loaders = {split: _OneLabel(loader, column) for split, loader in prepared.loaders.items()}
    return single, replace(prepared, preprocessor=narrowed, loaders=loaders)


@dataclass(frozen=True)
class _OneLabel:
    """A loader that shows one label column of another."""

    loader: Loader
    column: int

    @property
    def num_rows(self) -> int:
        return self.loader.num_rows

    @property
    def num_batches(self) -> int:
        return self.loader.num_batches

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        kept = slice(self.column, self.column + 1)
        for batch in self.loader.epoch(epoch, start_batch):
            yield replace(batch, labels=batch.labels[:, kept])
