"""`recsys-mtl train`: data, training, evaluation, baselines, the model folder, the tracked run.

What is left in the output folder:

    config.yaml   the effective config
    model/        the trained model (see recsys_mtl/serving/bundle.py)
    result.json   see docs/reference.md
    report.html   a page about all of it

The test metrics are those of the saved weights in fp32, which is how predictions are made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from recsys_mtl import parallel
from recsys_mtl.boosting import Boosted, require_installed
from recsys_mtl.config import Config, config_hash, dump_config
from recsys_mtl.config.check_processes import require_shareable
from recsys_mtl.config.flat import flat
from recsys_mtl.data.patterns import expanded
from recsys_mtl.data.prepare import Prepared, prepare
from recsys_mtl.errors import wrong
from recsys_mtl.memory import peak_memory_mb
from recsys_mtl.metrics import Metrics, to_json
from recsys_mtl.model.device import check_precision, pick_device
from recsys_mtl.process_group import ProcessGroup
from recsys_mtl.processes import require_one_process
from recsys_mtl.reports.output import envelope, write_result
from recsys_mtl.reports.results import ResultTable, boosting_note
from recsys_mtl.runs.checkpointing import RunCheckpoints
from recsys_mtl.runs.compare_baselines import baselines as run_baselines
from recsys_mtl.runs.csv_tables import Baselines
from recsys_mtl.runs.folder import JOB, MODEL, REPORT, require_space, training_folder
from recsys_mtl.runs.importance import SampledLoader
from recsys_mtl.runs.intervals import Rivals
from recsys_mtl.runs.measured import (
    intervals_of,
    measured,
    segment_table,
    with_conditional,
)
from recsys_mtl.runs.parent import load_parent
from recsys_mtl.runs.reference import ReferenceSampler
from recsys_mtl.runs.results import TrainingResult
from recsys_mtl.runs.resume import Resume
from recsys_mtl.runs.save import save_model
from recsys_mtl.runs.track import track_data, track_outcome
from recsys_mtl.runs.training_report import write_report
from recsys_mtl.serving.bundle import check_storable, load_bundle
from recsys_mtl.serving.mlflow_model import log_model, prove_model
from recsys_mtl.serving.predictor import Predictor, check_output_columns
from recsys_mtl.tracking.open import open_run
from recsys_mtl.tracking.run import NullRun, Run
from recsys_mtl.tracking.uri import redact_uri, without_secrets
from recsys_mtl.training.evaluate import Evaluator, Scores
from recsys_mtl.wiring.run import build_evaluator
from recsys_mtl.wiring.trainer import Fitted, fit_network

log = logging.getLogger(__name__)


def train(
    config: Config,
    out: str | Path,
    *,
    baselines: bool | Sequence[str] = False,
    show: Callable[[ResultTable], None] | None = None,
    resume: Resume = "auto",
    report: bool = True,
) -> TrainingResult:
    """Train, evaluate, store and track one run.

    Args:
        config: the run.
        out: folder for the model, the config and result.json.
        baselines: whether to train the baselines as well; or the boosting among them, by the words
            of `recsys_mtl.boosting.WORDS`. True: LightGBM where it is installed, else
            scikit-learn's.
        show: receives the table of results as soon as it is complete.
        resume: from a checkpoint that a killed run left in the folder: `auto`, `never` or its step.
        report: whether report.html is made, and what it shows is measured.

    Returns:
        What result.json holds. Of several processes the first one writes and reports; the others
        know whether the training was interrupted alone.

    Raises:
        UserError: anything wrong with the config, the data, the device, the tracking server or
            the output folder, or a boosting that is not installed, before anything is written
            there (a wrong training row of a streamed run beyond `data.fit_rows` is reported when
            it is read); or a logged model that does not work in a fresh process, after everything
            else is written.
        Terminated: SIGTERM came, and the training's state is stored.

    Example:
        >>> from recsys_mtl.config import load_config
        >>> from recsys_mtl.runs.train import train
        >>> config = load_config("visits.yaml", ["training.epochs=1", "tracking.enabled=false"])
        >>> result = train(config, "runs/visits")
        >>> 0.5 < result["tasks"]["click"]["metrics"]["auc"]["value"] < 1
        True
    """
    require_one_process(but_torchrun=True)
    training = config.training
    with (
        ProcessGroup(training.device, training.distributed.timeout_s) as group,
        ExitStack() as held,
    ):
        names = None
        if baselines is not False:
            names = require_installed(() if baselines is True else baselines)
        require_shareable(config, parallel.world(), baselines=names is not None)
        _require_one_config(config)
        folder = parallel.on_first(lambda: held.enter_context(training_folder(out))) or Path(out)
        config = parallel.together(partial(expanded, config))
        checkpoints = RunCheckpoints(folder, config, resume)
        with checkpoints.handled():
            write = partial(write_report, folder) if report else None
            result = _train(
                config, folder, checkpoints, group, boosting=names, show=show, report=write
            )
        checkpoints.end()
        return TrainingResult.of(result)


def _require_one_config(config: Config) -> None:
    """All processes have the config of the first one.

    Raises:
        UserError: they do not.
    """
    own = config_hash(config)
    first = parallel.broadcast(own)

    def check() -> None:
        if own != first:
            what = "a process was started with another config than the first one"
            raise wrong(what, where="CONFIG and --set", fix="start all with the same command")

    parallel.together(check)


def _train(
    config: Config,
    out: Path,
    checkpoints: RunCheckpoints,
    group: ProcessGroup,
    *,
    boosting: Sequence[str] | None,
    show: Callable[[ResultTable], None] | None,
    report: Callable[..., None] | None,
) -> dict[str, Any]:
    """All processes train and evaluate; the first one alone reads and writes anything else."""
    started, first = datetime.now(UTC), parallel.rank() == 0
    if first and (out / "result.json").exists() and not checkpoints.resumes:
        log.warning("%s holds an earlier run, which this one will replace", out)
    check_precision(config.training.precision, pick_device(config.training.device))
    sampler = ReferenceSampler()
    prepared = _prepared(config, out, checkpoints, sampler if first else None)
    config = prepared.config
    prepared = checkpoints.watched(prepared, sampler)
    with ExitStack() as stack:
        opened = partial(_opened, stack, config, prepared, out, checkpoints.run_id)
        tracked = parallel.on_first(opened) or NullRun()
        checkpoints.report_to(tracked)
        fitted = fit_network(config, prepared, checkpoints)
        save_model(out, config, prepared, fitted, sampler)
        evaluator = build_evaluator(config, prepared.preprocessor, precision="fp32")
        rows = _test_rows(config, prepared, fitted, evaluator)
        test = evaluator(fitted.network, rows)
        interrupted = fitted.result.stopped == "interrupted"
        group.leave()
        if not first:
            return {"interrupted": interrupted}
        others, boosted, rivals = Baselines(), dict[str, Boosted](), None
        if boosting is not None and not interrupted:
            rivals = Rivals(test, {t.name: t.kind for t in evaluator.tasks}, config.seed)
            named = run_baselines(config, prepared, boosting, boosted.__setitem__, rivals.keep)
            interrupted = not _finished(named, others)
        result = envelope(JOB, started=started, config_hash=config_hash(config))
        result |= _result(config, prepared, fitted, test, others, rivals) | _boosting(boosted)
        result |= {} if fitted.taken is None else {"warm_start": fitted.taken.to_json()}
        result |= {"interrupted": interrupted, "mlflow": _tracked(tracked)}
        if (out / REPORT).is_file():
            (out / REPORT).unlink()  # of an earlier run
        write_result(out, result)
        if report is not None:
            report(tracked, config, fitted, test, rows, result)
        if show is not None:
            show(_table(result, test, others))
        track_outcome(tracked, config, fitted, test, others, result["tasks"])
        _log_model(tracked, config, prepared, fitted, out, result)
        tracked.artifact(write_result(out, result))
        if interrupted:
            log.warning("interrupted: %s holds the best epoch until then, and its result", out)
            tracked.end("KILLED")
    return result


def _prepared(
    config: Config, out: Path, checkpoints: RunCheckpoints, sampler: ReferenceSampler | None
) -> Prepared:
    """The data, if a model can be made of them, stored and trained in so many processes."""
    parent = None if checkpoints.resumes else parallel.together(partial(load_parent, config))
    prepared = prepare(config, sampler, parent=parent, fitting=checkpoints.fitted)
    config = prepared.config
    log.debug("effective config:\n%s", dump_config(without_secrets(config)))
    require_shareable(config, parallel.world())
    check_output_columns(prepared.preprocessor)
    check_storable(config, prepared.preprocessor)
    parallel.on_first(lambda: require_space(out, config, prepared.preprocessor.spec))
    return prepared


def _opened(
    stack: ExitStack, config: Config, prepared: Prepared, out: Path, run_id: str | None
) -> Run:
    """The tracked run, with the config."""
    track, public = config.tracking, without_secrets(config)
    tags = {"data_fingerprint": prepared.fingerprint, "config_hash": config_hash(config)}
    opened = partial(open_run, spool=out, begun=out, run_id=run_id)
    run = opened(track.enabled, track.uri, track.experiment, config.name, tags)
    tracked = stack.enter_context(run)
    tracked.params(flat(public.model_dump()))
    tracked.text("config.yaml", dump_config(public))
    track_data(tracked, public, prepared)
    return tracked


def _test_rows(
    config: Config, prepared: Prepared, fitted: Fitted, evaluator: Evaluator
) -> SampledLoader:
    """The test rows, some of which are kept for the report."""
    trained = sum(epoch.rows for epoch in fitted.result.epochs)
    loader, features = prepared.loaders["test"], prepared.preprocessor.features
    return SampledLoader(loader, evaluator, features, trained_rows=trained, seed=config.seed)


def _table(result: Mapping[str, Any], test: Scores, others: Baselines) -> ResultTable:
    kinds = {name: task["kind"] for name, task in result["tasks"].items()}
    note = boosting_note(result.get("boosting", {}))
    kinds, metrics = with_conditional(kinds, test)
    columns = {"model": metrics, **others}
    title, tasks = f"{result['name']}: test rows", result["tasks"]
    segments, intervals = segment_table(tasks), intervals_of(tasks)
    return ResultTable(title, kinds, columns, note or None, segments, intervals)


def _finished(named: Iterable[tuple[str, dict[str, Metrics]]], into: Baselines) -> bool:
    """Keep what comes; Ctrl-C ends it early (False)."""
    try:
        into.update(named)
    except KeyboardInterrupt:
        log.warning("interrupted: only %s of the baselines finished", ", ".join(into) or "none")
        return False
    return True


def _result(
    config: Config,
    prepared: Prepared,
    fitted: Fitted,
    test: Scores,
    others: Baselines,
    rivals: Rivals | None,
) -> dict[str, Any]:
    kinds = {task.name: task.kind for task in prepared.preprocessor.spec.tasks}
    baselines = {
        name: {task: to_json(metrics) for task, metrics in by_task.items()}
        for name, by_task in others.items()
    }
    evaluation, seed = config.evaluation, config.seed
    tasks = measured(test, kinds, evaluation, seed=seed, rivals=rivals, baselines=baselines)
    return {
        "name": config.name,
        "seed": config.seed,
        "device": str(fitted.device),
        "precision": config.training.precision,
        "data": {
            "rows": prepared.rows,
            "fingerprint": prepared.fingerprint,
            "streamed": prepared.streamed,
            "unknown": prepared.unknown,
            "warnings": prepared.warnings,
        },
        "recipe": {"name": config.training.recipe, "decided": dict(prepared.derived)},
        "training": _training(fitted),
        "tasks": tasks,
        "baselines": baselines,
        "peak_memory_mb": round(peak_memory_mb(), 1),
        "model": MODEL,
    }


def _boosting(boosted: Mapping[str, Boosted]) -> dict[str, Any]:
    numbers = {name: of.numbers() for name, of in boosted.items()}
    return {"boosting": numbers} if numbers else {}


def _log_model(
    tracked: Run,
    config: Config,
    prepared: Prepared,
    fitted: Fitted,
    out: Path,
    result: dict[str, Any],
) -> None:
    """Log the stored model and prove it; `result` and its file get the outcome."""
    model_uri = log_model(
        tracked,
        out / MODEL,
        prepared.example,
        name=config.name.replace(".", "_"),
        step=fitted.result.best_epoch,
    )
    if model_uri is not None:
        result["mlflow"]["model_uri"] = model_uri
        write_result(out, result)
        expected = _predictions(config, prepared, fitted, out)
        difference = prove_model(model_uri, str(tracked.uri), prepared.example, expected, out=out)
        result["mlflow"]["largest_difference"] = difference


def _predictions(config: Config, prepared: Prepared, fitted: Fitted, out: Path) -> pl.DataFrame:
    """Predictions of the example, on the CPU; by the stored model if the network has not all."""
    if fitted.device.type == "cpu" and not fitted.network.embeddings.ranges:
        predictor = Predictor(config, prepared.preprocessor, fitted.network)
    else:
        predictor = load_bundle(out / MODEL)
    return predictor.predict(prepared.example)


def _tracked(tracked: Run) -> dict[str, Any]:
    return {
        "experiment_id": tracked.experiment_id,
        "run_id": tracked.id,
        "tracking_uri": None if tracked.uri is None else redact_uri(tracked.uri),
        "model_uri": None,
        "largest_difference": None,
    }


def _training(fitted: Fitted) -> dict[str, Any]:
    epochs = fitted.result.epochs
    rows, seconds = sum(e.rows for e in epochs), sum(e.seconds for e in epochs)
    return {
        "stopped": fitted.result.stopped,
        "best_epoch": fitted.result.best_epoch,
        "best_score": epochs[fitted.result.best_epoch].score,
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
                "valid_losses": epoch.validation.losses,
                "labelled": epoch.labelled,
                "skipped_batches": epoch.skipped,
                "adatt": epoch.transfer,
                "conflicts": epoch.conflicts,
            }
            for epoch in epochs
        ],
    }
