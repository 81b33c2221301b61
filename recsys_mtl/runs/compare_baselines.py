"""The baselines of `train --baselines`, on the same rows as the model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch

from recsys_mtl.boosting import Boosted, Predictions, boost, default_name
from recsys_mtl.columns.keys import Key
from recsys_mtl.columns.spec import DataSpec, TaskSpec
from recsys_mtl.config.adatt import AdaTTConfig
from recsys_mtl.config.architecture import ExpertsConfig
from recsys_mtl.config.check import column_of
from recsys_mtl.config.combiner import SumConfig
from recsys_mtl.config.experts import MlpExpertConfig
from recsys_mtl.config.model import GatesConfig, ModelConfig
from recsys_mtl.config.schema import Config
from recsys_mtl.data.batch import Batch, concat
from recsys_mtl.data.loader import Loader
from recsys_mtl.data.loading import load_splits
from recsys_mtl.data.prepare import Prepared
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.metrics import Metrics, Undefined
from recsys_mtl.runs.baselines import constant
from recsys_mtl.runs.one_task import from_random_weights, one_task
from recsys_mtl.tasks import ToUnit
from recsys_mtl.tasks.evaluate import evaluate_task, metric_names
from recsys_mtl.training.evaluate import Array, grouped
from recsys_mtl.wiring.run import inverses
from recsys_mtl.wiring.trainer import fit_and_test

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeldRows:
    """A run's rows in memory, with the numbers of the files, and what is known of them.

    Attributes:
        train, valid, test: the rows; of a run with more than `data.fit_rows` training rows only so
            many of `train` and `valid`.
        spec: of the batches.
        inverses: of each task, from its targets to the label's unit.
        keys: columns that rows are grouped by.
    """

    train: Batch
    valid: Batch
    test: Batch
    spec: DataSpec
    inverses: Mapping[str, ToUnit]
    keys: Sequence[Key] = ()

    @classmethod
    def of(cls, config: Config, prepared: Prepared) -> Self:
        """Read them."""
        preprocessor = _with_raw_numbers(config, prepared)
        loaders = load_splits(config, prepared.splits, preprocessor)
        return cls(
            _rows(loaders["train"], config.data.fit_rows),
            _rows(loaders["valid"], config.data.fit_rows),
            _rows(loaders["test"], None),
            preprocessor.spec,
            inverses(preprocessor),
            preprocessor.keys,
        )


def baselines(
    config: Config,
    prepared: Prepared,
    names: Sequence[str] = (),
    report: Callable[[str, Boosted], None] | None = None,
    keep: Callable[[str, Predictions], None] = lambda name, predictions: None,
) -> Iterator[tuple[str, dict[str, Metrics]]]:
    """Each baseline's name and its metrics on the test rows by task, as soon as it is trained.

    constant and boosting see the raw numeric columns, single_task and shared_bottom the network's
    own encoding; a model that is a shared bottom is not trained again. Boosting holds its rows in
    memory: of a run with more than `data.fit_rows` training rows it gets so many, and all test
    rows.

    Args:
        config: the run.
        prepared: its data.
        names: of the boosting; LightGBM where it is installed, else scikit-learn's, if empty.
        report: receives each boosting.
        keep: receives each baseline's predictions of the test rows, before its metrics come.

    Raises:
        KeyboardInterrupt: Ctrl-C, at the first one.
    """
    rows = HeldRows.of(config, prepared)
    log.info("baseline: constant")
    guess = constant(rows.train, rows.test, rows.spec.tasks, inverses=rows.inverses)
    keep("constant", guess)
    yield "constant", judged(config, rows, guess)
    for name in names or (default_name(),):
        boosted = boost_run(config, rows, name)
        if report is not None:
            report(name, boosted)
        keep(name, boosted.predictions)
        yield name, judged(config, rows, boosted.predictions)
    del rows
    log.info("baseline: single_task")
    metrics, predictions = _single_task(config, prepared)
    keep("single_task", predictions)
    yield "single_task", metrics
    bottom = as_shared_bottom(config)
    if bottom.model_dump() == config.model_dump():
        return  # the model is one
    log.info("baseline: shared_bottom")
    test = fit_and_test(bottom, prepared)[1]
    keep("shared_bottom", {**test.predictions})
    yield "shared_bottom", test.metrics


def boost_run(config: Config, rows: HeldRows, name: str) -> Boosted:
    """A run's test rows as gradient boosting predicts them.

    Args:
        config: the run; its seed, and its CPU threads (torch's where it names none).
        rows: of the run.
        name: one of `recsys_mtl.boosting.NAMES`.
    """
    log.info("baseline: %s", name)
    return boost(
        name,
        rows.train,
        rows.valid,
        rows.test,
        rows.spec,
        seed=config.seed,
        inverses=rows.inverses,
        threads=config.training.threads or torch.get_num_threads(),
    )


def judged(config: Config, rows: HeldRows, predictions: Predictions) -> dict[str, Metrics]:
    """Metrics by task of predictions for the test rows."""
    return {
        task.name: _judge(config, task, predictions[task.name], rows, column)
        for column, task in enumerate(rows.spec.tasks)
    }


def _judge(
    config: Config,
    task: TaskSpec,
    predicted: Array | Undefined,
    rows: HeldRows,
    column: int,
) -> Metrics:
    test, top_k = rows.test, config.evaluation.top_k
    groups, _ = grouped(rows.keys, None if test.keys is None else test.keys.numpy())
    if isinstance(predicted, Undefined):
        names = metric_names(task.kind, top_k, lists=groups is not None)
        return dict.fromkeys(names, predicted)
    labels = rows.inverses[task.name](test.targets(column, task.name).numpy())
    return evaluate_task(
        task.kind,
        labels,
        np.asarray(predicted),
        test.weights.numpy(),
        calibration_bins=config.evaluation.calibration_bins,
        top_k=top_k,
        groups=groups,
    )


def _single_task(config: Config, prepared: Prepared) -> tuple[dict[str, Metrics], Predictions]:
    metrics: dict[str, Metrics] = {}
    predictions: Predictions = {}
    for task in config.tasks:
        log.info("baseline: single_task, %s", task)
        test = fit_and_test(*one_task(config, prepared, task))[1]
        metrics |= test.metrics
        predictions |= test.predictions
    return metrics, predictions


def as_shared_bottom(config: Config) -> Config:
    """One wide bottom: an MLP as wide as all the experts that a task's gate mixes; plain sum."""
    one = config.model.architecture.name == "shared_bottom"
    experts = [*config.model.shared_experts, *([] if one else config.model.task_experts)]
    mlps = [expert for expert in experts if isinstance(expert, MlpExpertConfig)] or [
        MlpExpertConfig()
    ]
    times = sum(expert.count for expert in experts)
    bottom = MlpExpertConfig(hidden=[width * times for width in mlps[0].hidden])
    model = config.model.model_copy(
        update={
            "architecture": ExpertsConfig(name="shared_bottom"),
            "levels": 1,
            "gates": GatesConfig(),
            "shared_experts": [bottom],
            "task_experts": ModelConfig().task_experts,  # there are none
        }
    )
    training = config.training
    if training.warm_start.model is not None:
        training = from_random_weights(training)
    parts = {"model": model, "adatt": AdaTTConfig(), "combiner": SumConfig(), "training": training}
    return config.model_copy(update=parts)


def _with_raw_numbers(config: Config, prepared: Prepared) -> Preprocessor:
    """The run's preprocessor, but for numbers, which stay as they are in the files."""
    raw = {name: f.raw() for name, f in config.features.items() if f.raw() != f}
    if not raw:
        return prepared.preprocessor
    columns = [column_of(name, feature) for name, feature in raw.items()]
    columns = list(dict.fromkeys([*columns, *([config.data.weight] if config.data.weight else [])]))
    fitted = Preprocessor.fit(
        prepared.splits.sample("train", columns, config.data.fit_rows),
        raw,
        {},
        weight=config.data.weight,
        default_dim=config.model.embedding.dim,
    )
    plain = {feature.name: feature for feature in fitted.features}
    features = (plain.get(f.name, f) for f in prepared.preprocessor.features)
    return replace(prepared.preprocessor, features=tuple(features))


def _rows(loader: Loader, limit: int | None) -> Batch:
    """The loader's rows in one batch, at most about `limit` of them."""
    batches, rows = [], 0
    for batch in loader.epoch(0):
        batches.append(batch)
        rows += batch.num_rows
        if limit is not None and rows >= limit:
            break
    return concat(batches)
