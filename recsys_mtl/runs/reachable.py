"""How much of what can be reached at all a model reaches, where the truth of the rows is known.

Rows that `recsys-mtl synthesize` wrote have their true scores beside them. The oracle predicts from
those, the constant knows no row; both are measured on the very rows that the model is measured on,
so that the luck of their labels counts for all three alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from data_synth import Truth
from data_synth.targets import ChoiceTarget, Target
from recsys_mtl.config import Config, label_of
from recsys_mtl.data.raw import RawRows
from recsys_mtl.metrics import Metrics, Undefined
from recsys_mtl.metrics import to_json as metrics_to_json
from recsys_mtl.tasks.evaluate import evaluate_task
from recsys_mtl.training.evaluate import Array, Scores

_SHARED = {
    "auc", "pr_auc", "log_loss", "accuracy", "macro_f1", "ndcg_at_3",
    "r2", "rank_correlation", "mrr",
}  # fmt: skip
_LEAST_ROOM = 1e-4  # between constant and oracle, for a share to mean something

Columns = dict[str, dict[str, Metrics]]


def reachable(config: Config, rows: RawRows, scores: Scores) -> Columns:
    """Metrics by column ("constant", "oracle", "reached") and task; empty without a truth.

    Args:
        config: of the model.
        rows: that were scored.
        scores: what the model got there.

    Raises:
        UserError: the truth beside the rows is unreadable, or of other rows.
    """
    truth = truth_of(rows)
    if truth is None:
        return {}
    names = {task: label_of(task, config.tasks[task]) for task in scores.metrics}
    known = {task: column for task, column in names.items() if column in truth.targets}
    read = list(dict.fromkeys(["row_id", *known.values()]))
    labelled = pl.concat([frame.select(read) for frame in rows.frames(read)])
    linear = truth.linear(labelled["row_id"].to_numpy(), list(dict.fromkeys(known.values())))
    columns: Columns = {"constant": {}, "oracle": {}, "reached": {}}
    for task, column in known.items():
        target = truth.targets[column]
        labels = truth.label_index(column, labelled[column].to_arrow())
        left_out = np.isnan(scores.labels[task])  # by the config
        labels = np.where(left_out, np.nan, labels)
        for name, predict in (("constant", _constant), ("oracle", _oracle)):
            columns[name][task] = evaluate_task(
                config.tasks[task].kind,
                labels,
                predict(target, linear[column], labels),
                scores.weights,
                calibration_bins=config.evaluation.calibration_bins,
                top_k=config.evaluation.top_k,
            )
        columns["reached"][task] = _shares(
            scores.metrics[task], columns["constant"][task], columns["oracle"][task]
        )
    return columns


def truth_of(rows: RawRows) -> Truth | None:
    """The truth beside the rows, where they have the keys to it."""
    truth = Truth.beside(Path(rows.source.readers[0].file.path))
    return truth if "row_id" in rows.source.columns else None


def _oracle(target: Target, linear: Array, labels: Array) -> Array:
    if isinstance(target, ChoiceTarget) and target.kind == "retrieval":
        return np.asarray(target.ranks(linear, np.nan_to_num(labels).astype(np.int64)), np.float64)
    return target.predict(linear)


def _constant(target: Target, linear: Array, labels: Array) -> Array:
    if isinstance(target, ChoiceTarget) and target.kind == "retrieval":
        return np.asarray(target.constant_ranks(np.nan_to_num(labels).astype(np.int64)))
    constant = target.constant()
    return np.broadcast_to(constant, (len(labels), *constant.shape))


def _shares(model: Metrics, constant: Metrics, oracle: Metrics) -> Metrics:
    """Share of the way from the constant's metric to the oracle's, where that is a way."""
    shares: Metrics = {}
    for metric, value in model.items():
        if metric not in _SHARED and not metric.startswith("recall_at_"):
            continue
        low, high = constant[metric], oracle[metric]
        if metric == "rank_correlation":
            low = 0.0  # a constant has no ranks
        if (
            isinstance(value, Undefined)
            or isinstance(low, Undefined)
            or isinstance(high, Undefined)
        ):
            continue
        if abs(high - low) > _LEAST_ROOM:
            shares[metric] = (value - low) / (high - low)
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
