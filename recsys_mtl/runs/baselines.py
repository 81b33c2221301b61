"""The least that a network has to beat: one prediction for all rows.

Shapes: B rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from recsys_mtl.boosting import NO_ROWS, Predictions, labelled
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.data.batch import Batch
from recsys_mtl.tasks import ToUnit, kind_of


def constant(
    train: Batch, test: Batch, tasks: Sequence[TaskSpec], *, inverses: Mapping[str, ToUnit]
) -> Predictions:
    """One prediction for all rows: base rate, class shares, mean, or the items' popularity.

    Args:
        train: rows whose (weighted) label distribution is used.
        test: rows to predict.
        tasks: the tasks, in the order of the label columns.
        inverses: of each task, from its targets to the label's unit.

    Returns:
        Predictions by task; `Undefined` where no training row is labelled.
    """
    predictions: Predictions = {}
    for column, task in enumerate(tasks):
        rows, labels, weights = labelled(train, column, task.name)
        if not len(rows):
            predictions[task.name] = NO_ROWS
            continue
        to_unit = inverses[task.name]
        value = kind_of(task.kind).constant(task, labels, weights, to_unit)
        predictions[task.name] = np.broadcast_to(value, (test.num_rows, *value.shape))
    return predictions
