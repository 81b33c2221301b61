"""Runs on the same test rows: how sure the difference of their metrics is, by a paired bootstrap.

Each stored model predicts the test rows again, and all are measured on the same resamples.

Shapes: R test rows, N labelled rows of a task, D resamples, M runs.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsys_mtl.config import Config
from recsys_mtl.config.task_facts import larger_is_better
from recsys_mtl.data.loading import load_rows
from recsys_mtl.data.opening import open_splits
from recsys_mtl.errors import prefixed, wrong
from recsys_mtl.metrics.bootstrap import Interval, interval, resampled
from recsys_mtl.metrics.weighing import Floats, Ints, Score, on_rows
from recsys_mtl.runs.evaluate import model_folder, require_unchanged
from recsys_mtl.runs.intervals import RESAMPLES, drawn
from recsys_mtl.runs.trained import Trained
from recsys_mtl.serving.bundle import load_bundle
from recsys_mtl.serving.predictor import Predictor
from recsys_mtl.tasks import kind_of
from recsys_mtl.tasks.evaluate import score_in_lists
from recsys_mtl.training.evaluate import Scores
from recsys_mtl.wiring.run import build_evaluator

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Paired:
    """A metric of all runs on the same rows.

    Attributes:
        name: of the metric.
        values: (M,) on the rows.
        draws: (D, M) on their resamples.
        drawn: so many of the test rows are these; 0: all.
    """

    name: str
    values: Floats
    draws: Floats
    drawn: int = 0

    def difference(self, run: int, to: int) -> Interval:
        """A run's metric less another's, with its 95 % interval."""
        value = float(self.values[run] - self.values[to])
        return interval(value, self.draws[:, run] - self.draws[:, to])

    def ahead(self) -> int | None:
        """The run that is better than each other one; None where the rows do not decide it."""
        sign = 1.0 if larger_is_better(self.name) else -1.0
        better = sign * self.values
        if not np.isfinite(better).all():
            return None
        first = int(better.argmax())
        signed = Paired(self.name, better, sign * self.draws)
        others = (signed.difference(first, run) for run in range(len(better)) if run != first)
        return first if all(other.low > 0 for other in others) else None


def paired(
    runs: Sequence[Trained], metrics: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], Paired]:
    """The main metrics, and those within lists, of tasks that all runs have.

    Args:
        runs: that were measured on the same test rows.
        metrics: task and metric; others than those named above are ignored.

    Raises:
        UserError: a model is not there, or the test rows are not.
    """
    models: list[Predictor] = []
    for run in runs:
        with prefixed(run.label):
            models.append(_model(run))
    config = models[0].config
    scores = []
    for run, model in zip(runs, models, strict=True):
        with prefixed(run.label):
            scores.append(_scores(model, config))
    if any(not np.array_equal(one.weights, scores[0].weights) for one in scores):
        raise wrong("the runs weigh the test rows differently", where="data.weight")
    keep, clusters = drawn(scores[0], config.seed)
    weights = np.asarray(scores[0].weights, np.float64)[keep]
    functions: dict[tuple[str, str], Score] = {}
    for task, name in metrics:
        score = _score(task, name, models, scores, keep, weights)
        if score is not None:
            functions[task, name] = score
    draws = resampled(functions, weights, resamples=RESAMPLES, seed=config.seed, clusters=clusters)
    count = len(keep) if len(keep) < len(scores[0].weights) else 0
    return {key: Paired(key[1], of(weights), draws[key], count) for key, of in functions.items()}


def _model(run: Trained) -> Predictor:
    """The stored model, of the run's folder or of MLflow."""
    if run.folder is not None:
        return load_bundle(model_folder(run.folder))
    from recsys_mtl.tracking.logged_model import download_bundle  # folders need no MLflow
    from recsys_mtl.tracking.stored_runs import StoredRuns

    model_uri = (run.result.get("mlflow") or {}).get("model_uri")
    if model_uri is None:
        raise wrong("its model is not in MLflow", where=run.label)
    store = StoredRuns(run.uri)
    with tempfile.TemporaryDirectory() as folder, store.requesting("cannot download the model"):
        download_bundle(model_uri, store.uri, Path(folder) / "model")
        return load_bundle(Path(folder) / "model")


def _scores(model: Predictor, run: Config) -> Scores:
    """The model's predictions of a run's test rows."""
    rows = open_splits(model.config, run=run).rows("test")
    require_unchanged(model.fingerprint, rows.fingerprint())
    loader = load_rows(model.config, rows, model.preprocessor)
    log.info("%s predicts the %d test rows again", model.config.name, rows.num_rows)
    return build_evaluator(model.config, model.preprocessor, precision="fp32")(
        model.network, loader
    )


def _score(
    task: str,
    name: str,
    models: Sequence[Predictor],
    scores: Sequence[Scores],
    keep: Ints,
    weights: Floats,
) -> Score | None:
    """The metric of all runs; None where it is of another sort, or their labels differ."""
    encoders = [model.preprocessor.labels.get(task) for model in models]
    first = encoders[0]
    if first is None or any(one is None or one.kind != first.kind for one in encoders):
        return None
    kind = kind_of(first.kind)
    labels = [np.asarray(one.labels[task], np.float64)[keep] for one in scores]
    known = ~np.isnan(labels[0])
    for encoder, own in zip(encoders[1:], labels[1:], strict=True):
        assert encoder is not None
        alike = np.array_equal(known, ~np.isnan(own))
        if not alike or not first.reads_same(encoder, labels[0][known], own[known]):
            return None
    rows = np.flatnonzero(known & (weights > 0))
    predictions = [np.asarray(one.predictions[task], np.float64)[keep[rows]] for one in scores]
    finite = kind.infinite or all(np.isfinite(one).all() for one in predictions)
    if not len(rows) or not finite:
        return None
    of_rows = [own[rows] for own in labels]
    if name == kind.main:
        return on_rows(rows, kind.score(of_rows, predictions))
    groups = scores[0].groups
    if groups is None or not any(spec.is_of(name) for spec in kind.section.of_lists):
        return None
    return score_in_lists(
        first.kind,
        name,
        of_rows,
        predictions,
        rows=rows,
        groups=groups[keep[rows]],
        weights=weights,
    )
