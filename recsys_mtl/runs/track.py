"""What the tracker gets of a training: epochs, outcome and plots."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import combinations
from math import isnan
from typing import Any

import numpy as np

from recsys_mtl.config import Config
from recsys_mtl.data.opening import data_root
from recsys_mtl.data.prepare import Prepared
from recsys_mtl.metrics import Metrics, Undefined, reliability
from recsys_mtl.runs.csv_tables import Baselines, metrics_csv, segments_csv
from recsys_mtl.storage.location import located
from recsys_mtl.tasks import kind_of
from recsys_mtl.tracking.run import LoggedData, Run
from recsys_mtl.training import Epoch
from recsys_mtl.training.evaluate import Array, Scores, mean_loss
from recsys_mtl.wiring.trainer import Fitted

log = logging.getLogger(__name__)
TOGETHER = "across_tasks"
"""Prefix of the means over tasks; in the alphabet it is the first one, as MLflow sorts charts."""
_MOST_BLOCKS = 8
_MOST_PAIRS = 15


def track_data(tracked: Run, config: Config, prepared: Prepared) -> None:
    """Name the data set: its fingerprint, files, rows by split, and the columns that are used."""
    paths = config.data.path if isinstance(config.data.path, list) else [config.data.path]
    labels = prepared.preprocessor.labels
    columns = {f.column: f.kind for f in prepared.preprocessor.features}
    columns |= {label.column: config.tasks[name].kind for name, label in labels.items()}
    files = tuple(str(located(path, data_root(config))) for path in paths)
    data = LoggedData(config.name, prepared.fingerprint, files, dict(prepared.rows), columns)
    tracked.data(data)


def track_epoch(tracked: Run, config: Config, epoch: Epoch, *, at: float | None = None) -> None:
    """Send the numbers of an epoch that finished now, or at a time in seconds since 1970.

    Few enough to look through: the metrics that tables show, and no weight that is always 1. All
    of an epoch's numbers are in result.json.
    """
    losses, own = epoch.validation.losses, epoch.loss_weights
    weights = {name: task.weight for name, task in config.tasks.items()}
    trained = {t: None if isnan(loss) else loss for t, loss in epoch.train_losses.items()}
    values: dict[str, float | None] = {
        f"{TOGETHER}/train_loss": mean_loss(trained, weights),
        f"{TOGETHER}/valid_loss": mean_loss(losses, weights),
    }
    values |= {f"train/{task}/loss": loss for task, loss in trained.items()}
    for task, loss in losses.items():
        values[f"valid/{task}/loss"] = loss
        metrics = epoch.validation.metrics.get(task, {})
        shown = kind_of(config.tasks[task].kind).section.shown(metrics)
        values |= _flat_metrics("valid", {task: {n: metrics[n] for n in shown if n in metrics}})
    if any(weight != 1 for weight in own.values()):
        values |= {f"weight/{task}": weight for task, weight in own.items()}
    for task, use in epoch.validation.gates.items():
        values[f"gate_entropy/{task}"] = use.entropy
        values[f"gate_dead_experts/{task}"] = len(use.dead)
    if epoch.transfer is not None:
        values |= transfer_numbers(epoch.transfer)
    if epoch.conflicts is not None:
        values |= conflict_numbers(epoch.conflicts)
    values |= {
        "rows_per_second": epoch.rows_per_second,
        "skipped_batches": epoch.skipped,
        "learning_rate_factor": epoch.learning_rate_factor,
    }
    tracked.metrics(values, epoch.number, at=at)


def track_outcome(
    tracked: Run,
    config: Config,
    fitted: Fitted,
    test: Scores,
    others: Baselines,
    tasks: Mapping[str, Any],
) -> None:
    """Send the test metrics, tables with the baselines and segments, and the plots.

    Untracked, nothing is drawn. `tasks` is that of result.json.
    """
    if tracked.id is None:
        return
    epochs, step = fitted.result.epochs, fitted.result.best_epoch
    values = _flat_metrics("test", test.metrics)
    given = {f"{task}_given_{of.given}": of.metrics for task, of in test.conditional.items()}
    values |= _flat_metrics("conditional", given)
    weights = {name: task.weight for name, task in config.tasks.items()}
    values["valid/loss"] = mean_loss(epochs[step].validation.losses, weights)
    tracked.metrics(values, step)
    tracked.text("tables/metrics.csv", metrics_csv(tasks, others))
    if segments := segments_csv(tasks):
        tracked.text("tables/segments.csv", segments)
    _send_plots(tracked, config, epochs, test)


def _send_plots(tracked: Run, config: Config, epochs: Sequence[Epoch], test: Scores) -> None:
    from recsys_mtl.tracking import plots  # Matplotlib takes most of a second to import

    tracked.figure("plots/loss.png", plots.loss_curves(*_losses(epochs)))
    curves = {
        task: _reliability(test, task, config.evaluation.calibration_bins)
        for task, spec in config.tasks.items()
        if kind_of(spec.kind).reliability and test.labelled[task]
    }
    if curves:
        tracked.figure("plots/calibration.png", plots.calibration(curves))
    last = epochs[-1].transfer
    if last is not None:
        tasks, affinity = list(config.tasks), np.asarray(last["affinity"]).mean(axis=0)
        if "borrowed" in last:
            by_epoch = [epoch.transfer["borrowed"] for epoch in epochs if epoch.transfer]
            figure = plots.borrowing(tasks, affinity, by_epoch)
        else:
            figure = plots.transfer(tasks, affinity, np.asarray(last["weights"]).mean(axis=0))
        tracked.figure("plots/affinity.png", figure)
    if (last_conflicts := epochs[-1].conflicts) is not None:
        tracked.figure("plots/conflicts.png", plots.conflicts(list(config.tasks), last_conflicts))
    if test.gates:
        uses = {task: use.mean for task, use in test.gates.items()}
        tracked.figure("plots/gate_use.png", plots.gate_use(uses))


def _reliability(test: Scores, task: str, bins: int) -> tuple[Array, Array, Array]:
    rows = ~np.isnan(test.labels[task]) & (test.weights > 0)
    labels, predicted = test.labels[task][rows], test.predictions[task][rows]
    return reliability(labels, predicted, test.weights[rows], bins=bins)


def _flat_metrics(prefix: str, metrics: Mapping[str, Metrics]) -> dict[str, float | None]:
    return {
        f"{prefix}/{task}/{name}": None if isinstance(value, Undefined) else value
        for task, by_name in metrics.items()
        for name, value in by_name.items()
    }


def transfer_numbers(transferred: Mapping[str, Any]) -> dict[str, float | None]:
    """What MLflow shows of adaTT at the end of an epoch; the matrices are in result.json.

    Of borrowing, the sum of the weights that a task borrowed with.
    """
    values: dict[str, float | None] = {
        "adatt/phase": ("warmup", "dynamic", "frozen").index(transferred["phase"]),
        **{f"adatt/{name}": transferred[name] for name in ("observations", "skipped")},
    }
    borrowed = transferred.get("borrowed")
    if borrowed is None:
        blocked = sum(len(peers) for peers in transferred["negative_transfer"].values())
        numbers = {f"adatt/{name}": transferred[name] for name in ("blend", "clamped_share")}
        return values | numbers | {"adatt/blocked_pairs": blocked}
    values |= {f"adatt/borrowed/{task}": sum(lent.values()) for task, lent in borrowed.items()}
    return values | {"adatt/receivers": len(borrowed)}


def conflict_numbers(epoch: Mapping[str, Any]) -> dict[str, float | None]:
    """What MLflow shows of an epoch's task gradients; all of it is in result.json.

    Numbers of single blocks and pairs only where there are few enough to read; of more pairs, the
    mean cosine of each task with the others.
    """
    values: dict[str, float | None] = {
        "combiner/steps": epoch["steps"],
        "combiner/skipped": epoch["skipped"],
    }
    for name in ("conflict_ratio", "length_ratio"):
        of_blocks = epoch[name]
        known = [value for value in of_blocks.values() if value is not None]
        values[f"combiner/{name}"] = float(np.mean(known)) if known else None
        if 1 < len(of_blocks) <= _MOST_BLOCKS:
            values |= {f"combiner/{name}/{block}": value for block, value in of_blocks.items()}
    tasks = list(next(iter(epoch["task_cosine"].values())))
    cosines = epoch["pair_cosine"]
    pairs = list(combinations(range(len(tasks)), 2))
    if len(pairs) <= _MOST_PAIRS:
        values |= {f"combiner/cosine/{tasks[i]}/{tasks[j]}": cosines[i][j] for i, j in pairs}
    else:
        for task, row in zip(tasks, cosines, strict=True):
            known = [value for value in row if value is not None]
            values[f"combiner/cosine/{task}"] = float(np.mean(known)) if known else None
    for task, weight in (epoch["weights"] or {}).items():
        values[f"combiner/weight/{task}"] = weight
    return values | {f"combiner/{name}": value for name, value in epoch["extra"].items()}


def _losses(epochs: Sequence[Epoch]) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Per task, one value an epoch: training and validation; NaN where undefined."""
    tasks = epochs[0].train_losses
    train = {t: [e.train_losses[t] for e in epochs] for t in tasks}
    valid = {t: [_or_nan(e.validation.losses[t]) for e in epochs] for t in tasks}
    return train, valid


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
