"""Warns of features that alone almost determine a label: they are most often written after it.

Every score is 0.5 to 1 like an AUC, or 0 to 1 like a correlation, and 1 means "determines". Values
of a categorical feature are judged by rows they were not learned from: an id that is new in
every row scores nothing.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from threadpoolctl import threadpool_limits

from recsys_mtl.columns.canonical import canonical, factorize, stripped
from recsys_mtl.data.where import Condition
from recsys_mtl.features.registry import KINDS
from recsys_mtl.metrics.binary import auc_of_masses
from recsys_mtl.metrics.regression import correlate_ranks
from recsys_mtl.metrics.weighing import Floats, running_sum, sums
from recsys_mtl.tasks import kind_of

TREE_ROWS = 10_000
SCREEN_ROWS, _OF_A_CLASS = 400, 30  # outside the most frequent class, before intervals can judge
_INTERVAL_ROWS = 14
_TABLE_CELLS = 1 << 18  # of a count for each code and class
_MARGIN = 0.25  # intervals lie at most 0.13 below a tree that scores 0.5 or more
MIN_ROWS = 50  # fewer judged rows, or fewer than MIN_SIDE of a class, give no score
MIN_SIDE = 5

Codes = npt.NDArray[np.int64]


class LabelInfo(NamedTuple):
    """A task's label.

    Attributes:
        kind: of the task.
        column: of the label.
        positive: canonical texts that count as 1 in a binary label; none for 1 and true.
        null_values: canonical texts that mean unlabelled.
        only_where: the task's sample space; other rows are unlabelled.
    """

    kind: str
    column: str
    positive: tuple[str, ...] = ()
    null_values: tuple[str, ...] = ()
    only_where: Condition | None = None


class LeakageScore(NamedTuple):
    """How well a feature does, and on which scale."""

    value: float
    scale: str


@dataclass(frozen=True)
class _Column:
    """A column as integers.

    Attributes:
        codes: -1 for null; of numbers dense ranks from 0 on, of categories one each in any order.
        numeric: whether the order of the values means something.
        has_nulls: whether a code is -1.
        masses: of the rows that a label is known in, by the identity of its `known`.
    """

    codes: Codes
    numeric: bool
    has_nulls: bool
    masses: dict[int, _Masses] = field(default_factory=dict)


@dataclass(frozen=True)
class _Label:
    """A label.

    Attributes:
        name: of its column.
        judged_by: see `Kind.leakage`.
        codes: dense ranks, -1 where unlabelled.
        known: where labelled; labels known in the same rows share it.
    """

    name: str
    judged_by: str
    codes: Codes
    known: npt.NDArray[np.bool_]

    @cached_property
    def target(self) -> Codes:
        """Codes of the known rows."""
        return self.codes if self.known.all() else self.codes[self.known]

    @cached_property
    def counts(self) -> Codes:
        """Known rows of each code."""
        return np.bincount(self.target)

    @cached_property
    def positive(self) -> Codes:
        """Those of the known rows that are positive."""
        return np.flatnonzero(self.target > 0)


class _Masses(NamedTuple):
    """Rows (N,) of a feature by what they are scored by, shared by all labels known in them.

    A number scores itself. A category's rows in one half are scored by the label's mean in the
    other half; those that the other half lacks have one cell, which scores the mean of all rows.

    Attributes:
        cell: (N,) of each row.
        rows: (C,) of each cell.
        judged: (C,) the cell whose rows each one's score judges; None: its own.
    """

    cell: Codes
    rows: Floats
    judged: Codes | None

    @classmethod
    def of(cls, codes: Codes, numeric: bool, fold: npt.NDArray[np.bool_]) -> _Masses:
        if numeric:
            return cls(codes, np.bincount(codes).astype(np.float64), None)
        size = int(codes.max()) + 1
        cell = codes + size * fold
        count = np.bincount(cell, minlength=2 * size).reshape(2, size)
        (both,) = np.nonzero(count.all(axis=0))
        half = np.arange(len(both))
        cells = np.full((2, size), 2 * len(both))
        cells[:, both] = half, half + len(both)
        cell = cells.ravel()[cell]
        judged = np.concatenate([half + len(both), half, [2 * len(both)]])
        return cls(cell, np.bincount(cell, minlength=len(judged)).astype(np.float64), judged)

    def area(self, positive: Codes) -> float:
        """Of the numbers of the rows that are positive."""
        ones = np.bincount(self.cell[positive], minlength=len(self.rows)).astype(np.float64)
        if self.judged is None:
            area = auc_of_masses(ones, self.rows - ones)
            return max(area, 1.0 - area)
        mean = ones / np.maximum(self.rows, 1)
        mean[-1] = ones.sum() / self.rows.sum()
        score = np.unique(mean, return_inverse=True)[1]
        ones, count = ones[self.judged], self.rows[self.judged]
        return auc_of_masses(sums(score, ones), sums(score, count - ones))


def find_leaks(
    frame: pl.DataFrame,
    features: Mapping[str, str],
    tasks: Mapping[str, LabelInfo],
    threshold: float,
    columns: Mapping[str, str] | None = None,
    sampled: bool = False,
) -> list[str]:
    """One warning for each suspiciously good feature, and for each label that is used twice.

    Numbers: AUC in either direction for a binary label, |Spearman| for a regression. Categories:
    the same of the label's mean per category, learned on the other half of the rows. Any feature
    against classes or items: accuracy on rows not learned from (a shallow tree for numbers, the
    most frequent class for categories), 0 at that of the most frequent class and 1 where it is
    always right. And for every feature whether it is null exactly where the label has one
    certain value.

    Args:
        frame: a sample of the training rows, before any preprocessing.
        features: feature → kind.
        tasks: task → its label.
        threshold: least score that is reported.
        columns: feature → its column, where that has another name.
        sampled: whether there are training rows that `frame` lacks, for the messages.
    """
    columns = columns or {}
    of = f" in a sample of {frame.height:,} training rows" if sampled else ""
    labels = _labels(frame, tasks)
    warnings: list[str | None] = [*_shared_labels(tasks)]
    folds = np.random.default_rng(0).permutation(frame.height) % 2 == 0
    with threadpool_limits(1, user_api="blas"):  # thousands of short products: threads only wait
        for name, kind in features.items():
            feature = _feature(frame[columns.get(name, name)], kind)
            warnings += (_warning(name, feature, label, folds, threshold, of) for label in labels)
    return [warning for warning in warnings if warning is not None]


def _labels(frame: pl.DataFrame, tasks: Mapping[str, LabelInfo]) -> list[_Label]:
    """The labels, each once."""
    labels, masks = list[_Label](), dict[bytes, npt.NDArray[np.bool_]]()
    for task in dict.fromkeys(tasks.values()):
        codes = _label_codes(frame, task)
        known = codes >= 0
        known = masks.setdefault(known.tobytes(), known)
        labels.append(_Label(task.column, kind_of(task.kind).leakage, codes, known))
    return labels


def _warning(
    name: str,
    feature: _Column,
    label: _Label,
    folds: npt.NDArray[np.bool_],
    threshold: float,
    of: str,
) -> str | None:
    score = _score(feature, label, folds, threshold)
    if score is not None and score.value >= threshold:
        return _message(name, "alone", label.name, score, of)
    score = _null_pattern(feature, label)
    if score is not None and score.value >= threshold:
        return _message(name, "by being null", label.name, score, of)
    return None


def _message(feature: str, how: str, label: str, score: LeakageScore, of: str) -> str:
    return (
        f"feature '{feature}' {how} almost determines label '{label}' ({score.scale} "
        f"{math.floor(score.value * 1000) / 1000:.3f}){of}: if it is not known before the label, "
        "remove it from features and list it in data.ignore; else raise data.leakage_threshold"
    )


def _shared_labels(tasks: Mapping[str, LabelInfo]) -> list[str]:
    users: dict[tuple[str, Condition | None], list[str]] = {}
    for name, task in tasks.items():
        users.setdefault((task.column, task.only_where), []).append(name)
    return [
        f"tasks {' and '.join(repr(name) for name in names)} share the label column '{column}': "
        "they teach the model the same thing twice; remove one if that is not intended"
        for (column, _), names in users.items()
        if len(names) > 1
    ]


def _score(
    feature: _Column, label: _Label, folds: npt.NDArray[np.bool_], threshold: float
) -> LeakageScore | None:
    """The feature's score, or None where too few rows have both, or it is far from `threshold`."""
    known, target, counts = label.known, label.target, label.counts
    if feature.numeric and feature.has_nulls and label.judged_by != "mode":
        known = known & (feature.codes >= 0)
        target = label.codes[known]
        counts = np.bincount(target)
    counts = counts[counts > 0]
    rows = slice(None) if len(target) == len(known) else known
    if len(target) < MIN_ROWS or len(counts) < 2:
        return None
    if label.judged_by == "auc":
        if np.sort(counts)[-2] < MIN_SIDE:
            return None
        masses = feature.masses.get(id(label.known))
        if masses is None:
            masses = _Masses.of(feature.codes[rows] + 1, feature.numeric, folds[rows])
            feature.masses[id(label.known)] = masses
        same = target is label.target
        positive = label.positive if same else np.flatnonzero(target > 0)
        return LeakageScore(masses.area(positive), "AUC")
    codes, fold = feature.codes[rows] + 1, folds[rows]
    if label.judged_by == "rank":
        ones, score = np.ones(len(target)), codes
        if not feature.numeric:
            mass = running_sum(sums(target, ones))
            score = _other_fold_means(codes, mass[target] + mass[target + 1], fold)
        return LeakageScore(
            abs(float(correlate_ranks(target, [score])(ones)[0])), "|rank correlation|"
        )
    if np.sort(counts)[-2] < MIN_SIDE:
        return None
    if not feature.numeric or label.judged_by == "mode":
        return _accuracy(_mode_guess(codes, target, fold), target)
    if len(target) - counts.max() >= max(SCREEN_ROWS, _OF_A_CLASS * len(counts)):
        roughly = _accuracy(_mode_guess(_intervals(codes), target, fold), target)
        if roughly.value < threshold - _MARGIN:
            return None
    return _accuracy(_tree_guess(codes, target, fold), target)


def _accuracy(guess: Codes, target: Codes) -> LeakageScore:
    """0 at the accuracy of the most frequent class, 1 where every guess is right; -1 is none."""
    judged = guess >= 0
    majority = np.bincount(target).max() / len(target)
    accuracy = float(np.mean(guess[judged] == target[judged]))
    return LeakageScore(
        max(0.0, (accuracy - majority) / (1.0 - majority)), "accuracy above the majority"
    )


def _null_pattern(feature: _Column, label: _Label) -> LeakageScore | None:
    """Balanced accuracy of "null means that value", at the label's best value."""
    if not feature.has_nulls:
        return None
    known = label.known
    null, target = feature.codes[known] < 0, label.codes[known]
    if not null.any() or null.all():
        return None
    count = np.bincount(target)
    nulls = np.bincount(target, weights=null)
    enough = (count >= MIN_SIDE) & (len(target) - count >= MIN_SIDE)
    if not enough.any():
        return None
    inside = nulls[enough] / count[enough]
    outside = (null.sum() - nulls[enough]) / (len(target) - count[enough])
    return LeakageScore(float(0.5 + np.abs(inside - outside).max() / 2), "AUC")


def _feature(values: pl.Series, kind: str) -> _Column:
    comparable = KINDS[kind].comparable(values)
    if comparable.dtype.is_numeric():
        codes = _codes(comparable)
        return _Column(codes, True, bool(codes.min(initial=0) < 0))
    indices, distinct = factorize(comparable)
    order = np.arange(len(distinct))
    order[distinct.is_null().to_numpy()] = -1
    codes = order[indices]
    return _Column(codes, False, bool(codes.min(initial=0) < 0))


def _label_codes(frame: pl.DataFrame, task: LabelInfo) -> Codes:
    """Dense ranks of the values; -1 where unlabelled."""
    kind, column, positive, null_values, space = task
    values = frame[column]
    text = stripped(canonical(values))
    is_null = text.is_in(list(null_values)).fill_null(True)
    if space is not None:
        is_null |= ~space.mask(frame)
    codes = _codes(kind_of(kind).compared_values(values, text, positive))
    codes[is_null.to_numpy()] = -1
    return codes


def _codes(values: pl.Series) -> Codes:
    """Dense ranks from 0 on in the order of the values, -1 for null and NaN."""
    known = values.fill_nan(None) if values.dtype.is_float() else values
    return known.rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1


def _other_fold_means(codes: Codes, target: Floats, fold: npt.NDArray[np.bool_]) -> Codes:
    """Dense ranks of the target's mean in the other fold's rows of the code; of all where none."""
    size = int(codes.max()) + 1
    cell = codes + size * fold
    count = np.bincount(cell, minlength=2 * size)
    total = np.bincount(cell, weights=target, minlength=2 * size)
    mean = np.where(count > 0, total / np.maximum(count, 1), target.mean())
    ranks = np.unique(mean, return_inverse=True)[1]
    return ranks[codes + size * ~fold]


def _mode_guess(codes: Codes, target: Codes, fold: npt.NDArray[np.bool_]) -> Codes:
    """The most frequent class of the code in the other fold; of all rows for an unseen code."""
    size = int(codes.max()) + 1
    guess = _modes(codes + size * fold, target, 2 * size)[codes + size * ~fold]
    return np.where(guess >= 0, guess, np.bincount(target).argmax())


def _modes(codes: Codes, target: Codes, size: int) -> Codes:
    """(size,) the most frequent class of each code, the last of several; -1 where it has no row."""
    width = int(target.max()) + 1
    if size * width <= _TABLE_CELLS:
        table = np.bincount(codes * width + target, minlength=size * width).reshape(size, width)
        return np.where(table.any(1), width - 1 - table[:, ::-1].argmax(1), -1)
    pairs, count = np.unique(codes * width + target, return_counts=True)
    order = np.argsort(count, kind="stable")  # the most frequent of a code is written last
    best = np.full(size, -1)
    best[pairs[order] // width] = pairs[order] % width
    return best


def _intervals(codes: Codes) -> Codes:
    """Intervals of about `_INTERVAL_ROWS` rows in the order of the codes."""
    return (np.cumsum(np.bincount(codes))[codes] - 1) // _INTERVAL_ROWS


def _tree_guess(codes: Codes, target: Codes, fold: npt.NDArray[np.bool_]) -> Codes:
    """Classes by a shallow tree grown on the other fold; -1 for rows left out for speed."""
    from sklearn.tree import DecisionTreeClassifier  # scikit-learn starts in a second

    guess = np.full(len(codes), -1)
    rows = np.arange(0, len(codes), math.ceil(len(codes) / TREE_ROWS))
    first_half = fold[rows]
    for judged, grown in (
        (rows[first_half], rows[~first_half]),
        (rows[~first_half], rows[first_half]),
    ):
        if len(judged) and len(grown):
            depth = math.ceil(math.log2(target.max() + 1)) + 2
            tree = DecisionTreeClassifier(max_depth=depth, random_state=0)
            with warnings.catch_warnings():  # that there are few rows a class is no one's concern
                warnings.simplefilter("ignore", UserWarning)
                tree.fit(codes[grown, None], target[grown])
            guess[judged] = tree.predict(codes[judged, None])
    return guess
