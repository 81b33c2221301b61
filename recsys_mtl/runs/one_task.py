"""A run with one of its tasks alone, for baselines and ablations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recsys_mtl.config.adatt import AdaTTConfig
from recsys_mtl.config.balancing import GradNormConfig, PlainBalancingConfig
from recsys_mtl.config.combiner import SumConfig
from recsys_mtl.config.schema import Config
from recsys_mtl.config.tasks import TaskConfig
from recsys_mtl.config.training import TrainingConfig, WarmStartConfig
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.loader import ChangedLoader, Loader
from recsys_mtl.data.prepare import Prepared


def from_random_weights(training: TrainingConfig, **others: Any) -> TrainingConfig:
    """The section without a warm start, for a network that cannot take over the weights."""
    update = {"warm_start": WarmStartConfig(), "freeze": [], **others}
    return training.model_copy(update=update)


def one_task(config: Config, prepared: Prepared, task: str) -> tuple[Config, Prepared]:
    """The same run with a single task; it lacks the other tasks, and what needs two of them.

    The network keeps all the experts that the task's gate mixes and has tables of its own. Early
    stopping keeps its metric where that is the task's own, else it uses the loss. It starts from
    random weights.
    """
    column = list(config.tasks).index(task)
    stopping = config.training.early_stopping
    if stopping.metric.rpartition("/")[0] != task:
        stopping = stopping.model_copy(update={"metric": "loss"})
    preferred = {name: e for name, e in config.model.gates.preferred.items() if name == task}
    gates = config.model.gates.model_copy(update={"preferred": preferred})
    alone = config.model.architecture.alone()
    changed = {"gates": gates, "logit_transfer": [], "architecture": alone}
    model = config.model.model_copy(update=changed)
    gradnorm = isinstance(config.balancing, GradNormConfig)
    balancing = PlainBalancingConfig() if gradnorm else config.balancing
    single = config.model_copy(
        update={
            "tasks": {task: _alone(config.tasks[task])},
            "model": model,
            "adatt": AdaTTConfig(),
            "combiner": SumConfig(),
            "balancing": balancing,
            "training": from_random_weights(config.training, early_stopping=stopping),
        }
    )
    pre = prepared.preprocessor
    narrowed = replace(
        pre,
        labels={task: pre.labels[task].alone(pre.labels)},
        conditions={name: c for name, c in pre.conditions.items() if name == task},
    )
    loaders = {split: _OneLabel(loader, column) for split, loader in prepared.loaders.items()}
    fitting = replace(prepared.fitting, preprocessor=narrowed)
    return single, replace(prepared, fitting=fitting, loaders=loaders)


_OF_PARENT = {"through", "entire_space", "counterfactual"}


def _alone(task: TaskConfig) -> TaskConfig:
    """The task without the one before it: it learns directly that both happen."""
    if task.parent is None:
        return task
    return type(task).model_validate(task.model_dump(exclude=_OF_PARENT))


class _OneLabel(ChangedLoader):
    """A loader that shows one label column of another."""

    def __init__(self, loader: Loader, column: int) -> None:
        super().__init__(loader)
        self._kept = slice(column, column + 1)

    def _changed(self, batch: Batch) -> Batch:
        return replace(batch, labels=batch.labels[:, self._kept])
