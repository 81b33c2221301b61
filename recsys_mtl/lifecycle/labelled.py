"""Labels and predictions of a task on its labelled rows, for two models.

Pairs are in the order champion, challenger.

Shapes: R rows of the set, N labelled rows of a task, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from recsys_mtl.lifecycle.same_task import Tasks, difference_of_kind, difference_of_labels
from recsys_mtl.metrics.weighing import Floats, Ints, Score, on_rows, together
from recsys_mtl.tasks import kind_of
from recsys_mtl.tasks.evaluate import score_in_lists
from recsys_mtl.training.evaluate import Scores


@dataclass(frozen=True)
class Labelled:
    """Two models' predictions of a task's labelled rows of positive weight.

    Attributes:
        kind: of the label.
        rows: (N,) indices among all rows.
        labels: (N,) of each model; only class indices may differ.
        predictions: (N,) or (N, K) of each model.
        groups: (N,) the list of each row; None: rows are in no lists.
        metric: of ranking within lists, that scores the task; None: its main metric.
    """

    kind: str
    rows: Ints
    labels: tuple[Floats, Floats]
    predictions: tuple[Floats, Floats]
    groups: Ints | None = None
    metric: str | None = None

    def within(self, rows: Ints) -> Labelled:
        """The task on some of all rows (rising)."""
        kept = np.isin(self.rows, rows, assume_unique=True)
        return replace(
            self,
            rows=self.rows[kept],
            labels=(self.labels[0][kept], self.labels[1][kept]),
            predictions=(self.predictions[0][kept], self.predictions[1][kept]),
            groups=None if self.groups is None else self.groups[kept],
        )

    @property
    def smaller_class(self) -> int | None:
        """Labelled rows of the smaller class; None for labels that are not yes or no."""
        kind = kind_of(self.kind)
        if not kind.section.is_event:
            return None
        positives = int(np.count_nonzero(self.labels[1]))
        return min(positives, len(self.rows) - positives)

    @property
    def finite(self) -> tuple[bool, bool]:
        """Whether all predictions are; an infinite rank is a miss."""
        first, second = (
            kind_of(self.kind).infinite or bool(np.isfinite(predicted).all())
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
        keep: (R,) indices of the rows that count.
        weights: (R,) of them.
    """
    labelled: dict[str, Labelled] = {}
    apart: dict[str, str] = {}
    for name in tasks[0]:
        why = difference_of_kind(name, *tasks)
        if why:
            apart[name] = why
            continue
        theirs, ours = (np.asarray(one.labels[name], np.float64)[keep] for one in scores)
        counted = weights > 0
        why = difference_of_labels(tasks[0][name], tasks[1][name], theirs[counted], ours[counted])
        if why:
            apart[name] = why
            continue
        rows = np.flatnonzero(~np.isnan(ours) & counted)
        first, second = (
            np.asarray(one.predictions[name], np.float64)[keep[rows]] for one in scores
        )
        kind = tasks[1][name].spec.kind
        groups = scores[1].groups
        labelled[name] = Labelled(
            kind,
            rows,
            (theirs[rows], ours[rows]),
            (first, second),
            None if groups is None else groups[keep[rows]],
        )
    return labelled, apart


def ready_score(task: Labelled, weights: Floats) -> Score | None:
    """The task's score; None where there is nothing to score.

    Args:
        task: its labelled rows.
        weights: (R,) of all rows; of a score within lists resamples draw complete lists.
    """
    if not len(task.rows) or not all(task.finite):
        return None
    if task.metric is not None:
        assert task.groups is not None
        return score_in_lists(
            task.kind, task.metric, task.labels, task.predictions,
            rows=task.rows, groups=task.groups, weights=weights,
        )  # fmt: skip
    return on_rows(task.rows, kind_of(task.kind).score(task.labels, task.predictions))


def calibration_of(task: Labelled, weights: Floats, bins: int) -> Score | None:
    """The calibration errors of both models; None for kinds that have none.

    Args:
        task: its labelled rows.
        weights: (R,) of all rows.
        bins: most bins.
    """
    kind, own = kind_of(task.kind), weights[task.rows]
    errors = [
        error
        for predicted in task.predictions
        if (error := kind.calibration(task.labels[1], predicted, own, bins=bins)) is not None
    ]
    return on_rows(task.rows, together(errors)) if errors else None
