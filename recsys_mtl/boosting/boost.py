"""Gradient boosting for each task alone, from encoded rows to predictions.

Shapes: B rows, C columns of a task's predictions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recsys_mtl.boosting.matrix import TreeMatrix
from recsys_mtl.boosting.model import Model
from recsys_mtl.boosting.names import LEARNERS
from recsys_mtl.boosting.rows import Array, Problem, Rows, rows_of
from recsys_mtl.columns.spec import DataSpec, TaskSpec
from recsys_mtl.data.batch import Batch
from recsys_mtl.metrics import Undefined
from recsys_mtl.tasks import ToUnit, kind_of

log = logging.getLogger(__name__)

Predictions: TypeAlias = dict[str, Array | Undefined]
NO_ROWS = Undefined("no labelled training rows")


@dataclass(frozen=True)
class Boosted:
    """Predictions and how they came about.

    Attributes:
        library: name and version.
        predictions: by task, in the form that metrics take.
        models: by task, one for each part of it; none for a constant or an undefined task.
    """

    library: str
    predictions: Predictions
    models: Mapping[str, Sequence[Model]]

    def numbers(self) -> dict[str, Any]:
        """What result.json holds."""
        by_task = {task: [model.numbers() for model in of] for task, of in self.models.items()}
        return {"library": self.library, "models": by_task}


def boost(
    name: str,
    train: Batch,
    valid: Batch,
    test: Batch,
    spec: DataSpec,
    *,
    seed: int,
    inverses: Mapping[str, ToUnit],
    threads: int = 1,
) -> Boosted:
    """A model a task, on the task's labelled rows; row weights count.

    Columns: the encoded numeric ones as they are; ids as categories (scikit-learn splits those of
    tables of at most 255 rows, larger ones are the number that the id is); a list as its length
    and the counts of its 32 most frequent ids. No statistic of a label enters. The number of trees
    is that of the lowest loss on the task's rows of `valid`; without any it is the library's
    default of 100.

    Args:
        name: one of `NAMES`.
        train: rows to learn from.
        valid: rows that stop the training early and choose the settings.
        test: rows to predict.
        spec: columns and tasks of the batches.
        seed: of the boosting.
        inverses: of each task, from its targets to the label's unit.
        threads: of the CPU.

    Returns:
        Predictions by task. `Undefined` for retrieval, which boosting cannot do, and where no
        training row is labelled; training labels of one class give that class.
    """
    learner, matrix = LEARNERS[name], TreeMatrix.of(spec, train)
    fit = partial(learner.fit, categories=matrix.categories, seed=seed, threads=threads)
    columns, tested = (matrix(train), matrix(valid)), matrix(test)
    predictions: Predictions = {}
    models: dict[str, list[Model]] = {}
    for index, task in enumerate(spec.tasks):
        rows = rows_of(train, index, columns[0]), rows_of(valid, index, columns[1])
        predictions[task.name], models[task.name] = _task(
            fit, task, rows, tested, to_unit=inverses[task.name]
        )
        trees = sum(model.trees for model in models[task.name])
        log.info("%s of %s: %d rows, %d trees", name, task.name, len(rows[0].labels), trees)
    return Boosted(f"{learner.title} {version(learner.package)}", predictions, models)


def _task(
    fit: Callable[[Problem], Model],
    task: TaskSpec,
    rows: tuple[Rows, Rows],
    tested: Array,
    *,
    to_unit: ToUnit,
) -> tuple[Array | Undefined, list[Model]]:
    """A task's predictions and the models that give them."""
    kind, (train, valid) = kind_of(task.kind), rows
    if kind.no_boosting:
        return Undefined(kind.no_boosting), []
    if not len(train.labels):
        return NO_ROWS, []
    if train.labels.min() == train.labels.max():
        value = kind.constant(task, train.labels, train.weights, to_unit)
        return np.broadcast_to(value, (len(tested), *value.shape)), []
    predicted: list[Array] = []
    models: list[Model] = []
    for part in kind.boosting():
        problem = Problem.of(part, train, valid)
        if len(problem.classes) == 1:
            values: Array = np.ones((len(tested), 1))
        else:
            models.append(fit(problem))
            values = models[-1].predict(tested)
        if part.loss is None:
            values = _spread(values, problem.classes, kind.classes(task))
        predicted.append(values)
    return kind.boosted(task, predicted, to_unit), models


def _spread(probabilities: Array, seen: NDArray[np.int64], classes: int) -> Array:
    """(B, classes) probabilities; a class unseen in training has 0."""
    spread = np.zeros((len(probabilities), classes))
    spread[:, seen] = probabilities
    return spread
