"""Labels and predictions of a task on its labelled rows, for two models.

Pairs are in the order champion, challenger.

Shapes: R rows of the set, N labelled rows of a task, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys_mtl.columns.spec import TaskKind
from recsys_mtl.lifecycle.same_task import Tasks, difference_of_kind, difference_of_labels
from recsys_mtl.metrics.fast_scores import make_score
from recsys_mtl.metrics.weighing import Floats, Ints, Score
from recsys_mtl.training.evaluate import Scores


@dataclass(frozen=True)
class Labelled:
    """What two models say of a task's labelled rows of positive weight.

    Attributes:
        kind: of the label.
        rows: (N,) places among all rows.
        labels: (N,) of each model; only class indices may differ.
        predictions: (N,) or (N, K) of each model.
    """

    kind: TaskKind
    rows: Ints
    labels: tuple[Floats, Floats]
    predictions: tuple[Floats, Floats]

    @property
    def finite(self) -> tuple[bool, bool]:
        """Whether all predictions are; an infinite rank is a miss."""
        first, second = (
            self.kind == "retrieval" or bool(np.isfinite(predicted).all())
            for predicted in self.predictions
        )
        return first, second


def comparable(
    tasks: tuple[Tasks, Tasks], scores: tuple[Scores, Scores], keep: Ints, weights: Floats
) -> tuple[dict[str, Labelled], dict[str, str]]:
    """The champion's tasks that mean the same to both, and why the others do not.

    Args:
        tasks: label encoders by task.
        scores: predictions and labels of all rows.
        keep: (R,) places of the rows that count.
        weights: (R,) of them.
    """
    labelled: dict[str, Labelled] = {}
    apart: dict[str, str] = {}
    for name in tasks[0]:
        why = difference_of_kind(name, *tasks)
        if why:
            apart[name] = why
            continue
        theirs, ours = (np.asarray(found.labels[name], np.float64)[keep] for found in scores)
        why = difference_of_labels(tasks[0][name], tasks[1][name], theirs, ours)
        if why:
            apart[name] = why
            continue
        rows = np.flatnonzero(~np.isnan(ours) & (weights > 0))
        first, second = (
            np.asarray(found.predictions[name], np.float64)[keep[rows]] for found in scores
        )
        kind = tasks[1][name].spec.kind
        labelled[name] = Labelled(kind, rows, (theirs[rows], ours[rows]), (first, second))
    return labelled, apart


def ready_score(found: Labelled) -> Score | None:
    """The task's score; None where there is nothing to score."""
    if not len(found.rows) or not all(found.finite):
        return None
    labels = found.labels if found.kind == "multiclass" else (found.labels[1],) * 2
    return make_score(found.kind, found.rows, labels, found.predictions)
