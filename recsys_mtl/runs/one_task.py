"""A run with one of its tasks alone, for baselines and ablations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from recsys_mtl.config.adatt import AdaTTConfig
from recsys_mtl.config.balancing import GradNormConfig, PlainBalancingConfig
from recsys_mtl.config.combiner import SumConfig
from recsys_mtl.config.schema import Config
from recsys_mtl.config.tasks import BinaryConfig, TaskConfig
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.loader import ChangedLoader, Loader
from recsys_mtl.data.prepare import Prepared
from recsys_mtl.tasks import Label
from recsys_mtl.tasks.binary import BinaryLabel


def one_task(config: Config, prepared: Prepared, task: str) -> tuple[Config, Prepared]:
    """The same run with a single task; it lacks the other tasks, and what needs two of them.

    The network keeps all the experts that the task's gate mixes and has tables of its own. Early
    stopping keeps its metric where that is the task's own, else it uses the loss.
    """
    column = list(config.tasks).index(task)
    stopping = config.training.early_stopping
    if stopping.metric.rpartition("/")[0] != task:
        stopping = stopping.model_copy(update={"metric": "loss"})
    preferred = {name: e for name, e in config.model.gates.preferred.items() if name == task}
    gates = config.model.gates.model_copy(update={"preferred": preferred})
    model = config.model.model_copy(update={"gates": gates, "logit_transfer": []})
    gradnorm = isinstance(config.balancing, GradNormConfig)
    balancing = PlainBalancingConfig() if gradnorm else config.balancing
    single = config.model_copy(
        update={
            "tasks": {task: _alone(config.tasks[task])},
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
        labels={task: _own_label(pre.labels, task)},
        conditions={name: c for name, c in pre.conditions.items() if name == task},
    )
    loaders = {split: _OneLabel(loader, column) for split, loader in prepared.loaders.items()}
    return single, replace(prepared, preprocessor=narrowed, loaders=loaders)


def _alone(task: TaskConfig) -> TaskConfig:
    """The task without the one before it: it learns directly that both happen."""
    free = BinaryConfig(kind="binary")
    keys = ("through", "entire_space", "counterfactual")
    return task.model_copy(update={k: getattr(free, k) for k in keys}) if task.parent else task


def _own_label(labels: Mapping[str, Label], task: str) -> Label:
    """The same of its label; its base rate is that of both."""
    label = labels[task]
    if not isinstance(label, BinaryLabel) or label.through is None:
        return label
    before = _own_label(labels, label.through)
    assert isinstance(before, BinaryLabel)
    return replace(label, through=None, rate=label.rate * before.rate)


class _OneLabel(ChangedLoader):
    """A loader that shows one label column of another."""

    def __init__(self, loader: Loader, column: int) -> None:
        super().__init__(loader)
        self._kept = slice(column, column + 1)

    def _changed(self, batch: Batch) -> Batch:
        return replace(batch, labels=batch.labels[:, self._kept])
