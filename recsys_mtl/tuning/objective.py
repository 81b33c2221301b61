"""By what trials are compared: values of the validation rows, of the epoch that is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from recsys_mtl.ablation.arms import changed
from recsys_mtl.ablation.plan import as_overrides
from recsys_mtl.config import Config
from recsys_mtl.config.task_facts import larger_is_better
from recsys_mtl.errors import Problem, UserError, relocated
from recsys_mtl.metrics import Undefined
from recsys_mtl.tasks import kind_of
from recsys_mtl.training import Validation
from recsys_mtl.training.evaluate import mean_loss

PER_TASK = "per_task"
_STOPPING = "training.early_stopping.metric"


@dataclass(frozen=True)
class Objective:
    """What is to be small or large.

    Attributes:
        name: `loss`, or TASK/METRIC.
        larger_is_better: its direction.
        weights: of the tasks in the loss: those of the base, whatever a trial learns with.
    """

    name: str
    larger_is_better: bool
    weights: Mapping[str, float]

    def value(self, validation: Validation) -> float | None:
        """Of an epoch; None where it is undefined."""
        task, _, metric = self.name.rpartition("/")
        if not task:
            value: object = mean_loss(validation.losses, self.weights)
        else:
            value = validation.metrics[task][metric]
        if value is None or isinstance(value, Undefined):
            return None
        assert isinstance(value, int | float)
        return float(value) if math.isfinite(value) else None

    def better(self, one: float, other: float) -> bool:
        """Whether the first value is better."""
        return one > other if self.larger_is_better else one < other


def objectives(metric: str | list[str] | None, base: Config) -> tuple[Objective, ...]:
    """What a tuning's `metric` means for the base.

    Raises:
        UserError: all names that are no metric of a task of the base.
    """
    names = (
        [metric or base.training.early_stopping.metric] if not isinstance(metric, list) else metric
    )
    if metric == PER_TASK:
        names = [f"{name}/{kind_of(task.kind).main}" for name, task in base.tasks.items()]
    problems: list[Problem] = []
    for name in names:
        try:
            with relocated(lambda where: "metric"):
                changed(base, as_overrides({_STOPPING: name}), "metric")
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(*problems)
    weights = {name: task.weight for name, task in base.tasks.items()}
    return tuple(
        Objective(name, name != "loss" and larger_is_better(name.rpartition("/")[2]), weights)
        for name in names
    )
