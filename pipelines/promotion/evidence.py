"""What two models' predictions of the same rows show: gains with intervals, calibration.

Pairs are in the order champion, challenger.

Shapes: D resamples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pipelines.promotion.bootstrap import UNKNOWN, Interval, drawn_rows, interval, resampled
from pipelines.promotion.gate import Gate
from pipelines.promotion.labelled import Labelled, comparable, ready_score
from pipelines.promotion.same_task import Tasks
from pipelines.promotion.scores import Floats, Score
from recsys_mtl.data.schema import TaskKind
from recsys_mtl.training.evaluate import Scores
from recsys_mtl.training.metrics.binary import calibration_error

_MOST_UNDEFINED = 0.05  # of the resamples
_NAN = float("nan")


@dataclass(frozen=True)
class TaskEvidence:
    """A task that both models have.

    Attributes:
        kind: of its label.
        rows: labelled rows of positive weight.
        scores: of the models; NaN where they are undefined.
        gain: the challenger's score less the champion's.
        calibration: errors of the models; None for kinds that have none.
        ungated: why no rule looks at the task; empty where they do.
        broken: what is wrong with the challenger's predictions; empty where nothing is.
    """

    kind: TaskKind
    rows: int
    scores: tuple[float, float] = (_NAN, _NAN)
    gain: Interval = UNKNOWN
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


def gather(
    gate: Gate, tasks: tuple[Tasks, Tasks], scores: tuple[Scores, Scores], *, bins: int
) -> Evidence:
    """Compare two models on rows that both have predicted.

    Args:
        gate: rows, resamples, seed, and the rows that a task needs.
        tasks: label encoders by task.
        scores: predictions and labels; rows weigh what the challenger says.
        bins: of the calibration error.
    """
    count = len(scores[1].weights)
    assert len(scores[0].weights) == count, "the models were given different rows"
    keep = drawn_rows(count, gate.rows, gate.seed)
    weights = np.asarray(scores[1].weights, np.float64)[keep]
    labelled, apart = comparable(tasks, scores, keep, weights)
    ready = {name: ready_score(found) for name, found in labelled.items()}
    functions = {name: score for name, score in ready.items() if score is not None}
    draws = resampled(functions, weights, resamples=gate.resamples, seed=gate.seed)
    judged = {}
    for name, found in labelled.items():
        judged[name] = _judge(found, ready[name], draws.get(name), weights, gate, bins)
    gated = [name for name, task in judged.items() if not (task.ungated or task.broken)]
    return Evidence(
        rows=count,
        used=len(weights),
        tasks=judged,
        mean=_mean([judged[name] for name in gated], [draws[name] for name in gated]),
        apart=apart,
        new=tuple(name for name in tasks[1] if name not in tasks[0]),
    )


def _judge(
    found: Labelled,
    score: Score | None,
    draws: Floats | None,
    weights: Floats,
    gate: Gate,
    bins: int,
) -> TaskEvidence:
    count = len(found.rows)
    few = f"{count} labelled rows, fewer than {gate.min_rows}" if count < gate.min_rows else ""
    champion_is_finite, challenger_is_finite = found.finite
    if score is None or draws is None:
        broken = "" if challenger_is_finite else "its predictions are not finite"
        other = "" if champion_is_finite else "the champion's predictions are not finite"
        return TaskEvidence(found.kind, count, ungated=few or other, broken=broken)
    champion, challenger = (float(value) for value in score(weights))
    gains = draws[:, 1] - draws[:, 0]
    undefined = float(np.mean(~np.isfinite(gains)))
    why = few
    if not np.isfinite(challenger - champion):
        why = why or "all labels are equal"
    elif undefined > _MOST_UNDEFINED:
        why = why or f"all labels are equal in {undefined:.0%} of the resamples"
    return TaskEvidence(
        kind=found.kind,
        rows=count,
        scores=(champion, challenger),
        gain=interval(challenger - champion, gains),
        calibration=_calibration(found, weights[found.rows], bins),
        ungated=why,
    )


def _calibration(found: Labelled, weights: Floats, bins: int) -> tuple[float, float] | None:
    """Expected calibration error, or the mean's error relative to the mean absolute label."""
    labels = found.labels[1]
    if found.kind == "binary":
        first, second = (
            calibration_error(labels, predicted, weights, bins=bins)
            for predicted in found.predictions
        )
        return first, second
    size = float(weights @ np.abs(labels))
    if found.kind != "regression" or size <= 0:
        return None
    first, second = (
        abs(float(weights @ (predicted - labels))) / size for predicted in found.predictions
    )
    return first, second


def _mean(tasks: list[TaskEvidence], draws: list[Floats]) -> Interval:
    """Over tasks, on each resample (D,) over those that it gives a score."""
    if not tasks:
        return UNKNOWN
    gains = np.stack([pair[:, 1] - pair[:, 0] for pair in draws])
    known = np.isfinite(gains)
    counts = known.sum(axis=0)
    sums = np.where(known, gains, 0.0).sum(axis=0)
    means = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
    return interval(float(np.mean([task.gain.value for task in tasks])), means)
