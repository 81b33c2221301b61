"""What two models' predictions of the same rows show: gains with intervals, calibration.

Shapes: R rows, N labelled rows of a task, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pipelines.promotion.bootstrap import Interval, drawn_rows, interval, resampled
from pipelines.promotion.gate import Gate
from pipelines.promotion.same_task import Tasks, difference_of, labels_differ
from pipelines.promotion.scores import Floats, Ints, make_score
from recsys_mtl.data.schema import TaskKind
from recsys_mtl.training.evaluate import Scores
from recsys_mtl.training.metrics.binary import calibration_error

_LEAST_DEFINED = 0.95  # of the resamples


@dataclass(frozen=True)
class TaskEvidence:
    """A task of the champion that both models have.

    Attributes:
        kind: of its label.
        rows: labelled rows of positive weight.
        champion: score; NaN where it is undefined.
        challenger: likewise.
        gain: the challenger's score less the champion's.
        calibration: errors of champion and challenger; None for kinds that have none.
        ungated: why no rule looks at the task; empty where they do.
        broken: what is wrong with the challenger's predictions; empty where nothing is.
    """

    kind: TaskKind
    rows: int
    champion: float
    challenger: float
    gain: Interval
    calibration: tuple[float, float] | None = None
    ungated: str = ""
    broken: str = ""


@dataclass(frozen=True)
class Evidence:
    """All that the gate looks at.

    Attributes:
        rows: evaluation rows.
        used: of them, those drawn for the comparison.
        tasks: by name, those that can be compared.
        mean: gain over gated tasks.
        apart: tasks of the champion that cannot be compared, and why.
        new: tasks that only the challenger has.
    """

    rows: int
    used: int
    tasks: Mapping[str, TaskEvidence]
    mean: Interval
    apart: Mapping[str, str] = field(default_factory=dict)
    new: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Labelled:
    """A task's labelled rows: their places, labels and predictions of champion and challenger."""

    kind: TaskKind
    rows: Ints
    labels: tuple[Floats, Floats]
    predictions: tuple[Floats, Floats]


def gather(
    gate: Gate, tasks: tuple[Tasks, Tasks], scores: tuple[Scores, Scores], *, bins: int
) -> Evidence:
    """Compare two models, champion and challenger, on the rows that both were asked for.

    Args:
        gate: rows, resamples, seed and the rows that a task needs.
        tasks: label encoders by task.
        scores: what they say; weights are those of the challenger.
        bins: of the calibration error.
    """
    weights = np.asarray(scores[1].weights, np.float64)
    assert len(scores[0].weights) == len(weights)
    chosen = drawn_rows(len(weights), gate.rows, gate.seed)
    keep = np.arange(len(weights)) if chosen is None else chosen
    weights = weights[keep]
    labelled: dict[str, _Labelled] = {}
    apart: dict[str, str] = {}
    for task in tasks[0]:
        why = difference_of(task, *tasks) or labels_differ(task, tasks, scores)
        if why:
            apart[task] = why
        else:
            labelled[task] = _labelled(task, tasks[1], scores, keep, weights)
    judged = {name: _judge(found, weights, gate, bins) for name, found in labelled.items()}
    return _with_intervals(gate, labelled, judged, weights, Evidence(
        rows=len(scores[1].weights), used=len(keep), tasks={}, mean=_UNKNOWN, apart=apart,
        new=tuple(name for name in tasks[1] if name not in tasks[0]),
    ))  # fmt: skip
