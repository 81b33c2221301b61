"""`recsys-mtl train`: data, training, evaluation, baselines, the model folder, the tracked run.

What is left in the output folder:

    config.yaml   the effective config
    model/        the trained model (see recsys_mtl/serving/bundle.py)
    result.json   see docs/reference.md

The test metrics are those of the saved weights in fp32, which is how predictions are made.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipelines.compare import baselines as run_baselines
from pipelines.fitting import Fitted, fit_network
from pipelines.measure import peak_memory_mb
from pipelines.output import atomic_write, envelope, prepare_out, write_result
from pipelines.report import print_results
from recsys_mtl.build.run import build_evaluator
from recsys_mtl.config import Config, config_hash, dump_config, load_config
from recsys_mtl.data.prepare import prepare
from recsys_mtl.serving.bundle import load_bundle, save_bundle
from recsys_mtl.serving.mlflow_model import log_model, verify_model
from recsys_mtl.tracking.plots import calibration, gate_use, loss_curves
from recsys_mtl.tracking.run import Run, open_run
from recsys_mtl.tracking.uri import redact
from recsys_mtl.training.device import check_precision, pick_device
from recsys_mtl.training.evaluate import Array, Scores
from recsys_mtl.training.loop import Epoch
from recsys_mtl.training.metrics import Metrics, Undefined, reliability, to_json

log = logging.getLogger(__name__)
Baselines = dict[str, dict[str, Metrics]]
_LARGEST_DIFFERENCE = 1e-6


def run(
    config: Path, *, overrides: Sequence[str] = (), out: Path | None = None, baselines: bool = False
) -> dict[str, Any]:
    """Train from a config file; see `train`."""
    loaded = load_config(config, overrides)
    return train(loaded, out or Path("runs") / loaded.name, baselines=baselines)


def train(config: Config, out: Path, *, baselines: bool = False) -> dict[str, Any]:
    """Train, evaluate, store and track one run.

    Args:
        config: the run.
        out: folder for the model, the config and result.json.
        baselines: whether to train the baselines as well.

    Returns:
        What result.json holds.

    Raises:
        UserError: anything wrong with the config, the data, the device, the tracking server or
            the output folder, before anything is written to it but the config.
    """
    started = datetime.now(UTC)
    out = prepare_out(out)
    effective = dump_config(_public(config))
    log.info("effective config:\n%s", effective)
    check_precision(config.training.precision, pick_device(config.training.device))
    prepared = prepare(config)
    tracking = config.tracking
    with open_run(
        tracking.enabled,
        tracking.uri,
        tracking.experiment,
        config.name,
        {"data_fingerprint": prepared.fingerprint, "config_hash": config_hash(config)},
        spool=out,
    ) as tracked:
        atomic_write(out / "config.yaml", effective)
        tracked.params(flat(config.model_dump()))
        tracked.text("config.yaml", effective)
        history = _History(tracked)
        fitted = fit_network(config, prepared, on_epoch=history.see)
        evaluator = build_evaluator(config, prepared.preprocessor, precision="fp32")
        test = evaluator(fitted.network, prepared.loaders["test"])
        save_bundle(out / "model", config, prepared.preprocessor, fitted.network.state_dict())
        interrupted = fitted.result.stopped == "interrupted"
        others: Baselines = {}
        if baselines and not interrupted:
            interrupted = not _finished(run_baselines(config, prepared), others)
        kinds = {task.name: task.kind for task in prepared.preprocessor.spec.tasks}
        print_results(f"{config.name}: test rows", kinds, {"model": test.metrics, **others})
        _track_outcome(tracked, config, fitted, history, test, others)
        model = _track_model(tracked, out / "model", prepared.example)
        result = envelope("train", started=started, config_hash=config_hash(config)) | {
            "name": config.name,
            "seed": config.seed,
            "device": str(fitted.device),
            "precision": config.training.precision,
            "data": {
                "rows": prepared.rows,
                "fingerprint": prepared.fingerprint,
                "streamed": prepared.streamed,
                "warnings": prepared.warnings,
            },
            "interrupted": interrupted,
            "training": _training(fitted, history),
            "tasks": {
                name: {
                    "kind": kinds[name],
                    "labelled": test.labelled[name],
                    "metrics": to_json(test.metrics[name]),
                }
                for name in kinds
            },
            "baselines": {
                name: {task: to_json(m) for task, m in by_task.items()}
                for name, by_task in others.items()
            },
            "peak_memory_mb": round(peak_memory_mb(), 1),
            "model": "model",
            "mlflow": {
                "run_id": tracked.id,
                "tracking_uri": None if tracked.uri is None else redact(tracked.uri),
                **model,
            },
        }
        path = write_result(out, result)
        tracked.artifact(path)
    if interrupted:
        log.warning("interrupted: %s holds the best epoch until then, and its result", out)
    return result


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as `section.key`; lists stay whole."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _finished(named: Iterable[tuple[str, dict[str, Metrics]]], into: Baselines) -> bool:
    """Keep what comes; Ctrl-C ends it early (False)."""
    try:
        into.update(named)
    except KeyboardInterrupt:
        log.warning("interrupted: only %s of the baselines finished", ", ".join(into) or "none")
        return False
    return True


class _History:
    """The epochs so far, sent to the tracker as they end."""

    def __init__(self, tracked: Run) -> None:
        self._tracked = tracked
        self.epochs: list[tuple[Epoch, Scores]] = []

    def see(self, epoch: Epoch, scores: Scores) -> None:
        self.epochs.append((epoch, scores))
        values: dict[str, float | None] = {
            "rows_per_second": epoch.rows_per_second,
            "skipped_batches": epoch.skipped,
            "learning_rate_factor": epoch.learning_rate_factor,
        }
        values |= {f"train/{task}/loss": loss for task, loss in epoch.train_losses.items()}
        values |= {f"weight/{task}": weight for task, weight in epoch.loss_weights.items()}
        values |= {f"valid/{task}/loss": loss for task, loss in scores.losses.items()}
        values |= _flat_metrics("valid", scores.metrics)
        for task, use in scores.gates.items():
            values[f"gate/{task}/entropy"] = use.entropy
            values[f"gate/{task}/dead_experts"] = len(use.dead)
            values |= {f"gate/{task}/{expert}": mean for expert, mean in use.mean.items()}
        self._tracked.metrics(values, epoch.number)

    def losses(self) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
        """Per task, one value an epoch: train and valid; NaN where undefined."""
        tasks = self.epochs[0][0].train_losses
        train = {t: [e.train_losses[t] for e, _ in self.epochs] for t in tasks}
        valid = {t: [_or_nan(s.losses[t]) for _, s in self.epochs] for t in tasks}
        return train, valid


def _track_outcome(
    tracked: Run, config: Config, fitted: Fitted, history: _History, test: Scores, others: Baselines
) -> None:
    step = fitted.result.best_epoch
    values = _flat_metrics("test", test.metrics)
    for name, by_task in others.items():
        values |= _flat_metrics(f"baseline/{name}", by_task)
    tracked.metrics(values, step)
    tracked.figure("plots/loss.png", loss_curves(*history.losses()))
    curves = {
        task: _reliability(test, task, config.evaluation.calibration_bins)
        for task, spec in config.tasks.items()
        if spec.kind == "binary" and test.labelled[task]
    }
    if curves:
        tracked.figure("plots/calibration.png", calibration(curves))
    if test.gates:
        uses = {task: use.mean for task, use in test.gates.items()}
        tracked.figure("plots/gate_use.png", gate_use(uses))


def _reliability(test: Scores, task: str, bins: int) -> tuple[Array, Array, Array]:
    rows = ~np.isnan(test.labels[task]) & (test.weights > 0)
    labels, predicted = test.labels[task][rows], test.predictions[task][rows]
    return reliability(labels, predicted, test.weights[rows], bins=bins)


def _track_model(tracked: Run, bundle: Path, example: pl.DataFrame) -> dict[str, Any]:
    """Log the model and prove in a fresh process that it predicts what this one predicts."""
    uri = log_model(tracked, bundle, example)
    if uri is None or tracked.uri is None:
        return {"model_uri": None, "largest_difference": None}
    expected = load_bundle(bundle).predict(example)
    difference = verify_model(uri, tracked.uri, example, expected)
    if not difference <= _LARGEST_DIFFERENCE:
        raise RuntimeError(
            f"the logged model {uri} predicts differently in a fresh process: by {difference}"
        )
    log.info("the logged model predicts the same in a fresh process (within %.1e)", difference)
    return {"model_uri": uri, "largest_difference": difference}


def _training(fitted: Fitted, history: _History) -> dict[str, Any]:
    epochs = fitted.result.epochs
    rows, seconds = sum(e.rows for e in epochs), sum(e.seconds for e in epochs)
    return {
        "stopped": fitted.result.stopped,
        "best_epoch": fitted.result.best_epoch,
        "skipped_batches": fitted.result.skipped,
        "rows_per_second": round(rows / max(seconds, 1e-9), 1),
        "seconds": round(seconds, 3),
        "epochs": [
            {
                "epoch": epoch.number,
                "rows": epoch.rows,
                "seconds": round(epoch.seconds, 3),
                "score": epoch.score,
                "train_losses": epoch.train_losses,
                "valid_losses": scores.losses,
                "labelled": epoch.labelled,
                "skipped_batches": epoch.skipped,
            }
            for epoch, scores in history.epochs
        ],
    }


def _flat_metrics(prefix: str, metrics: Mapping[str, Metrics]) -> dict[str, float | None]:
    return {
        f"{prefix}/{task}/{name}": None if isinstance(value, Undefined) else value
        for task, by_name in metrics.items()
        for name, value in by_name.items()
    }


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _public(config: Config) -> Config:
    """The config without credentials in its tracking URI."""
    if config.tracking.uri is None:
        return config
    tracking = config.tracking.model_copy(update={"uri": redact(config.tracking.uri)})
    return config.model_copy(update={"tracking": tracking})
