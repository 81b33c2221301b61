"""The calibration error of a task as a function of the rows' weights, smaller being better.

binary      expected calibration error
regression  error of the mean prediction, relative to the mean absolute label

Shapes: R rows of the set, N labelled rows.
"""

from __future__ import annotations

from recsys_mtl.lifecycle.labelled import Labelled
from recsys_mtl.metrics.binary import prepare_calibration_error
from recsys_mtl.metrics.regression import prepare_error_of_mean
from recsys_mtl.metrics.weighing import Floats, Score, on_rows, together


def make_calibration(task: Labelled, weights: Floats, bins: int) -> Score | None:
    """The errors of both models; None for kinds of label that have none.

    Args:
        task: its labelled rows.
        weights: (R,) of the whole set, which a binary task's bins are made with.
        bins: most bins of a binary task.
    """
    labels, own = task.labels[1], weights[task.rows]
    if task.kind == "binary":
        errors = [
            prepare_calibration_error(labels, predicted, own, bins=bins)
            for predicted in task.predictions
        ]
    elif task.kind == "regression":
        errors = [prepare_error_of_mean(labels, predicted) for predicted in task.predictions]
    else:
        return None
    return on_rows(task.rows, together(errors))
