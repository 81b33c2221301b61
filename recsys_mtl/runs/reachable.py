"""The share of the reachable metric that a model reaches, where the truth of the rows is known.

Rows that `recsys-mtl synthesize` wrote come with their true scores. The oracle predicts from
those, the constant uses no row; both are measured on the same rows that the model is measured on,
so that the luck of their labels counts for all three alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.canonical import canonical_texts
from recsys_mtl.config import Config, label_of
from recsys_mtl.config.metric import MetricSpec
from recsys_mtl.config.tasks import TaskConfig
from recsys_mtl.data.raw import RawRows
from recsys_mtl.metrics import Metrics, Undefined
from recsys_mtl.metrics import to_json as metrics_to_json
from recsys_mtl.metrics.undefined import as_float
from recsys_mtl.tasks.evaluate import evaluate_task
from recsys_mtl.training.evaluate import Scores

if TYPE_CHECKING:  # the generator needs SciPy's statistics, which take a second to import
    from data_synth import Truth
    from data_synth.targets import Target

_LEAST_ROOM = 1e-4  # between constant and oracle, for a share to mean something

Columns = dict[str, dict[str, Metrics]]


def reachable(config: Config, rows: RawRows, scores: Scores) -> Columns:
    """Metrics by column ("constant", "oracle", "reached") and task; empty without a truth.

    Args:
        config: of the model.
        rows: that were scored.
        scores: what the model got there.

    Raises:
        UserError: the truth next to the rows is unreadable, or of other rows.
    """
    truth = truth_of(rows)
    if truth is None:
        return {}
    names = {task: label_of(task, config.tasks[task]) for task in scores.metrics}
    known = {task: column for task, column in names.items() if column in truth.targets}
    read = list(dict.fromkeys(["row_id", *known.values()]))
    labelled = pl.concat([frame[read] for frame in rows.frames(read)])
    linear = truth.linear(row_ids(labelled), list(dict.fromkeys(known.values())))
    columns: Columns = {"constant": {}, "oracle": {}, "reached": {}}
    for task, column in known.items():
        known_target = true_target(config, truth, linear, task)
        if known_target is None:
            continue
        target, predictors = known_target
        labels = scores.labels[task]
        if config.tasks[task].parent is None:
            left_out = np.isnan(labels)  # by the config
            labels = truth.label_index(column, labelled[column].to_arrow())
            labels = np.where(left_out, np.nan, labels)
        predictions = {
            "constant": target.guess(labels),
            "oracle": target.oracle(predictors, labels),
        }
        for name, predicted in predictions.items():
            columns[name][task] = evaluate_task(
                config.tasks[task].kind,
                labels,
                predicted,
                scores.weights,
                calibration_bins=config.evaluation.calibration_bins,
                top_k=config.evaluation.top_k,
            )
        columns["reached"][task] = _shares(
            config.tasks[task].metrics,
            scores.metrics[task],
            columns["constant"][task],
            columns["oracle"][task],
        )
    return columns


def true_target(
    config: Config, truth: Truth, linear: Mapping[str, NDArray[Any]], task: str
) -> tuple[Target, NDArray[Any]] | None:
    """A task's target and its true linear predictors; behind another task, of both events.

    Args:
        config: of the model.
        truth: of the rows.
        linear: (R,) by label column.
        task: which.

    Returns:
        None where the truth of the task or of one before it is not known, or is of another kind,
        another event or other classes than the config says.
    """
    from data_synth.targets import BinaryTarget
    from data_synth.targets.binary import together

    columns, name = list[str](), task
    while (section := config.tasks.get(name)) is not None:
        columns.append(label_of(name, section))
        if columns[-1] not in linear or not _drawn(section, truth.targets[columns[-1]]):
            return None
        name = section.parent or ""
    targets = [truth.targets[column] for column in columns]
    if len(columns) == 1:
        return targets[0], linear[columns[0]]
    binary = [target for target in targets if isinstance(target, BinaryTarget)]
    if len(binary) < len(targets):
        return None
    return together(binary, [linear[column] for column in columns])


def _drawn(section: TaskConfig, target: Target) -> bool:
    """Whether labels mean what the target draws."""
    usual = {"1", "true"}.issuperset(canonical_texts(getattr(section, "positives", ())))
    classes = getattr(section, "classes", None)
    same = classes is None or classes == getattr(target, "names", None)
    return section.kind == target.kind and usual and same


def truth_of(rows: RawRows) -> Truth | None:
    """The truth next to the rows, where they have its keys."""
    from data_synth import Truth

    path = rows.source.readers[0].file.path
    truth = Truth.of_rows(path) if isinstance(path, Path) else None  # not read from a store
    return truth if "row_id" in rows.source.columns else None


def row_ids(frame: pl.DataFrame) -> NDArray[np.int64]:
    """(B,) numbers of the rows in their data set, -1 without one; a CSV has them as text."""
    return frame["row_id"].cast(pl.Int64, strict=False).fill_null(-1).to_numpy()


def _shares(
    specs: Sequence[MetricSpec], model: Metrics, constant: Metrics, oracle: Metrics
) -> Metrics:
    """Share of the way from the constant's metric to the oracle's, where that is a way."""
    shares: Metrics = {}
    for name, value in model.items():
        spec = next(spec for spec in specs if spec.is_of(name))
        if not spec.reach:
            continue
        low, high = as_float(constant[name]), as_float(oracle[name])
        if isnan(low) and spec.constant is not None:
            low = spec.constant
        if abs(high - low) > _LEAST_ROOM and not isinstance(value, Undefined):
            shares[name] = (value - low) / (high - low)
    return shares


def to_json(columns: Columns) -> dict[str, Any]:
    """What result.json holds: task -> metric -> constant, oracle, reached."""
    if not columns:
        return {}
    return {
        task: {
            metric: {name: metrics_to_json(columns[name][task])[metric] for name in columns}
            for metric in columns["reached"][task]
        }
        for task in columns["reached"]
    }
