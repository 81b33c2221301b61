"""What two models' predictions of the same rows show: gains with intervals, calibration.

Pairs are in the order champion, challenger.

Shapes: D resamples.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from recsys_mtl.columns.keys import NO_GROUP
from recsys_mtl.errors import wrong
from recsys_mtl.lifecycle.gate import Gate
from recsys_mtl.lifecycle.labelled import Labelled, calibration_of, comparable, ready_score
from recsys_mtl.lifecycle.same_task import Tasks
from recsys_mtl.metrics.bootstrap import (
    UNKNOWN,
    Interval,
    clusters_of,
    drawn_clusters,
    drawn_rows,
    interval,
    resampled,
)
from recsys_mtl.metrics.weighing import Floats, Ints, Score
from recsys_mtl.tasks import kind_of
from recsys_mtl.training.evaluate import Scores

_MOST_UNDEFINED = 0.05  # of the resamples
_NAN = float("nan")
LIST_METRICS = ("gauc", "mrr")


@dataclass(frozen=True)
class TaskEvidence:
    """A task that both models have.

    Attributes:
        kind: of its label.
        rows: labelled rows of positive weight.
        scores: of the models; NaN where they are undefined.
        gain: the challenger's score less the champion's.
        calibration: errors of the models; None for kinds that have none.
        growth: the challenger's error less the champion's.
        ungated: why no rule is applied to the task; empty where they are.
        broken: what is wrong with the challenger's predictions; empty where nothing is.
        metric: that the scores are of; empty: the kind's main one.
    """

    kind: str
    rows: int
    scores: tuple[float, float] = (_NAN, _NAN)
    gain: Interval = UNKNOWN
    calibration: tuple[float, float] | None = None
    growth: Interval = UNKNOWN
    ungated: str = ""
    broken: str = ""
    metric: str = ""

    @property
    def measure(self) -> str:
        """The name of the metric that the scores are of."""
        return self.metric or kind_of(self.kind).main

    @property
    def gated(self) -> bool:
        """Whether its gain counts."""
        return not (self.ungated or self.broken)


@dataclass(frozen=True)
class Evidence:
    """All that the gate uses.

    Attributes:
        rows: evaluation rows.
        used: of them, those drawn for the comparison.
        tasks: by name, those that can be compared.
        mean: gain over gated tasks.
        apart: tasks of the champion that cannot be compared, and why.
        new: tasks that only the challenger has.
        clustered: whether complete lists or groups are resampled, or rows.
        segments: "TASK where COLUMN is VALUE" -> the task there, where the gate judges segments.
    """

    rows: int
    used: int
    tasks: Mapping[str, TaskEvidence]
    mean: Interval
    apart: Mapping[str, str] = field(default_factory=dict)
    new: tuple[str, ...] = ()
    clustered: bool = False
    segments: Mapping[str, TaskEvidence] = field(default_factory=dict)


def gather(
    gate: Gate,
    tasks: tuple[Tasks, Tasks],
    scores: tuple[Scores, Scores],
    *,
    bins: int,
    dependent: Ints | None = None,
) -> Evidence:
    """Compare two models on rows that both have predicted.

    Args:
        gate: rows, resamples, seed, and the rows that a task needs.
        tasks: label encoders by task.
        scores: predictions and labels; rows have the challenger's weights, and 0 where either
            model weighs them 0.
        bins: of the calibration error.
        dependent: (R,) rows of one number are resampled together where there are no lists.
    """
    count = len(scores[1].weights)
    assert len(scores[0].weights) == count, "the models were given different rows"
    keep, clusters = _drawn(scores[1], dependent, gate)
    weights = np.asarray(scores[1].weights, np.float64)[keep]
    weights = np.where(scores[0].weights[keep] > 0, weights, 0)  # the champion has no label there
    labelled, apart = comparable(tasks, scores, keep, weights)
    labelled = {name: _scored(task, name, gate) for name, task in labelled.items()}
    segments = _segments(labelled, scores[1], keep) if gate.segments is not None else {}
    functions: dict[str, Score] = {}
    errors: dict[str, Score] = {}
    for name, task in labelled.items():
        if (score := ready_score(task, weights)) is not None:
            functions[name] = score
            if (error := calibration_of(task, weights, bins)) is not None:
                errors[name] = error
    requested = {("score", name): score for name, score in functions.items()}
    requested |= {("error", name): error for name, error in errors.items()}
    parts = {name: ready_score(task, weights) for name, task in segments.items()}
    requested |= {("segment", name): score for name, score in parts.items() if score is not None}
    draws = resampled(
        requested, weights, resamples=gate.resamples, seed=gate.seed, clusters=clusters
    )
    judged = {}
    for name, task in labelled.items():
        if name not in functions:
            judged[name] = _unscored(task, gate, clusters)
            continue
        pair = _pair(functions[name], weights)
        judged[name] = _judge(task, pair, draws["score", name], gate, clusters)
        if name in errors:
            before, after = _pair(errors[name], weights)
            growth = interval(after - before, _gains(draws["error", name]))
            judged[name] = replace(judged[name], calibration=(before, after), growth=growth)
    gated = [name for name, task in judged.items() if task.gated]
    return Evidence(
        rows=count,
        used=len(weights),
        tasks=judged,
        mean=_mean([judged[name] for name in gated], [draws["score", name] for name in gated]),
        apart=apart,
        new=tuple(name for name in tasks[1] if name not in tasks[0]),
        clustered=clusters is not None,
        segments={
            name: _judge(
                segments[name], _pair(score, weights), draws["segment", name], gate, clusters
            )
            for name, score in parts.items()
            if score is not None
        },
    )


def _drawn(scores: Scores, dependent: Ints | None, gate: Gate) -> tuple[Ints, Ints | None]:
    """Indices of the rows that count, and their clusters; None: rows are resampled."""
    groups = dependent if scores.groups is None else scores.groups
    if groups is None:
        return drawn_rows(len(scores.weights), gate.rows, gate.seed), None
    clusters = clusters_of(groups, NO_GROUP)
    keep = drawn_clusters(clusters, gate.rows, gate.seed)
    return keep, np.unique(clusters[keep], return_inverse=True)[1]


def _scored(task: Labelled, name: str, gate: Gate) -> Labelled:
    """The task with the metric that the gate judges it by.

    Raises:
        UserError: the task has no such metric, or rows are in no lists.
    """
    metric = gate.metric_of(name)
    section = kind_of(task.kind).section
    own = name in gate.tasks and gate.tasks[name].metric is not None
    if metric is None or metric == section.main:
        return task
    known = metric in LIST_METRICS or re.fullmatch(r"(ndcg|hit_rate)_at_[1-9]\d*", metric)
    has = any(spec.is_of(metric) for spec in section.of_lists)
    where = f"gate: tasks.{name}.metric" if own else "gate: metric"
    if not known or (own and not has):
        names = [spec.name.replace("_at_k", "_at_K") for spec in section.of_lists]
        raise wrong(
            "no metric within lists" if not known else f"no metric of a {task.kind} task",
            where=where, expected=", ".join([section.main, *names] if own else names), found=metric,
        )  # fmt: skip
    if has and task.groups is None:
        fix = "train it with evaluation.groups, the column whose equal values are a list"
        raise wrong("the challenger's rows are in no lists", where=where, found=metric, fix=fix)
    return replace(task, metric=metric) if has else task


def _segments(labelled: Mapping[str, Labelled], scores: Scores, keep: Ints) -> dict[str, Labelled]:
    """Every task in every segment.

    Raises:
        UserError: rows are in no segments.
    """
    if not scores.segments:
        fix = "train it with evaluation.segments, the columns whose values are segments"
        raise wrong("the challenger's rows are in no segments", where="gate: segments", fix=fix)
    return {
        f"{name} where {column} is {names[code]}": task.within(np.flatnonzero(codes[keep] == code))
        for column, (codes, names) in scores.segments.items()
        for code in np.unique(codes[keep])
        for name, task in labelled.items()
    }


def _unscored(task: Labelled, gate: Gate, clusters: Ints | None) -> TaskEvidence:
    champion_is_finite, challenger_is_finite = task.finite
    why = _few(task, gate, clusters)
    if not champion_is_finite:
        why = why or "the champion's predictions are not finite"
    broken = "" if challenger_is_finite else "the challenger's predictions are not finite"
    return TaskEvidence(task.kind, len(task.rows), ungated=why, broken=broken)


def _judge(
    task: Labelled, pair: tuple[float, float], draws: Floats, gate: Gate, clusters: Ints | None
) -> TaskEvidence:
    gains = _gains(draws)
    undefined = float(np.mean(~np.isfinite(gains)))
    why = _few(task, gate, clusters)
    if not np.isfinite(pair[1] - pair[0]):
        why = why or "all labels are equal"
    elif undefined > _MOST_UNDEFINED:
        why = why or f"all labels are equal in {undefined:.0%} of the resamples"
    gain = interval(pair[1] - pair[0], gains)
    rows, metric = len(task.rows), task.metric or ""
    return TaskEvidence(task.kind, rows, scores=pair, gain=gain, ungated=why, metric=metric)


def _few(task: Labelled, gate: Gate, clusters: Ints | None) -> str:
    count = len(task.rows)
    if count < gate.min_rows:
        return f"{count} labelled rows, fewer than {gate.min_rows}"
    groups = len(np.unique(clusters[task.rows])) if clusters is not None else gate.min_groups
    if groups < gate.min_groups:
        return f"{groups} groups, fewer than {gate.min_groups}"
    smaller = task.smaller_class
    if not smaller or smaller >= gate.min_class:
        return ""  # of one class alone there is no score
    return f"{smaller} labelled rows of the smaller class, fewer than {gate.min_class}"


def _pair(score: Score, weights: Floats) -> tuple[float, float]:
    first, second = (float(value) for value in score(weights))
    return first, second


def _gains(draws: Floats) -> Floats:
    gains: Floats = draws[:, 1] - draws[:, 0]
    return gains


def _mean(tasks: list[TaskEvidence], draws: list[Floats]) -> Interval:
    """Over tasks, on each resample (D,) over those that it gives a score."""
    if not tasks:
        return UNKNOWN
    gains = np.stack([_gains(pair) for pair in draws])
    known = np.isfinite(gains)
    counts = known.sum(axis=0)
    sums = np.where(known, gains, 0.0).sum(axis=0)
    means = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
    return interval(float(np.mean([task.gain.value for task in tasks])), means)
