"""The baselines of `train --baselines`, on the same rows as the model."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.config.adatt import AdaTTConfig
from recsys_mtl.config.check import column_of
from recsys_mtl.config.combiner import SumConfig
from recsys_mtl.config.model import GatesConfig, MlpExpertConfig, ModelConfig
from recsys_mtl.config.schema import Config
from recsys_mtl.data.batch import Batch, concat
from recsys_mtl.data.loader import Loader
from recsys_mtl.data.loading import load_splits
from recsys_mtl.data.prepare import Prepared
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.metrics import Metrics, Undefined
from recsys_mtl.runs.baselines import Predictions, constant, gradient_boosting
from recsys_mtl.runs.one_task import one_task
from recsys_mtl.tasks import ToUnit
from recsys_mtl.tasks.evaluate import evaluate_task, metric_names
from recsys_mtl.training.evaluate import Array
from recsys_mtl.wiring.run import inverses
from recsys_mtl.wiring.trainer import fit_and_test

log = logging.getLogger(__name__)


def baselines(config: Config, prepared: Prepared) -> Iterator[tuple[str, dict[str, Metrics]]]:
    """Each baseline's name and its metrics on the test rows by task, as soon as it is trained.

    constant and gradient_boosting see the raw numeric columns, single_task and shared_bottom the
    network's own encoding. Boosting holds its rows in memory: of a run with more than
    `data.fit_rows` training rows it gets so many, and all test rows.

    Raises:
        KeyboardInterrupt: Ctrl-C, at the first one.
    """
    yield from _without_network(config, prepared)
    log.info("baseline: single_task")
    yield "single_task", _single_task(config, prepared)
    log.info("baseline: shared_bottom")
    yield "shared_bottom", fit_and_test(as_shared_bottom(config), prepared)[1].metrics


def _without_network(
    config: Config, prepared: Prepared
) -> Iterator[tuple[str, dict[str, Metrics]]]:
    preprocessor = _with_raw_numbers(config, prepared)
    loaders = load_splits(config, prepared.splits, preprocessor)
    train = _rows(loaders["train"], config.data.fit_rows)
    valid = _rows(loaders["valid"], config.data.fit_rows)
    test = _rows(loaders["test"], None)
    spec, to_unit = preprocessor.spec, inverses(preprocessor)

    def judged(predictions: Predictions) -> dict[str, Metrics]:
        return {
            task.name: _judge(config, task, predictions[task.name], test, column, to_unit)
            for column, task in enumerate(spec.tasks)
        }

    log.info("baseline: constant")
    yield "constant", judged(constant(train, test, spec.tasks, inverses=to_unit))
    log.info("baseline: gradient boosting")
    boosted = gradient_boosting(train, valid, test, spec, seed=config.seed, inverses=to_unit)
    yield "gradient_boosting", judged(boosted)


def _judge(
    config: Config,
    task: TaskSpec,
    predicted: Array | Undefined,
    test: Batch,
    column: int,
    to_unit: Mapping[str, ToUnit],
) -> Metrics:
    if isinstance(predicted, Undefined):
        return dict.fromkeys(metric_names(task.kind, config.evaluation.top_k), predicted)
    labels = to_unit[task.name](test.labels[:, column].numpy())
    return evaluate_task(
        task.kind,
        labels,
        np.asarray(predicted),
        test.weights.numpy(),
        calibration_bins=config.evaluation.calibration_bins,
        top_k=config.evaluation.top_k,
    )


def _single_task(config: Config, prepared: Prepared) -> dict[str, Metrics]:
    metrics: dict[str, Metrics] = {}
    for task in config.tasks:
        log.info("baseline: single_task, %s", task)
        metrics |= fit_and_test(*one_task(config, prepared, task))[1].metrics
    return metrics


def as_shared_bottom(config: Config) -> Config:
    """One wide bottom: an MLP as wide as all the experts that a task's gate mixes; plain sum."""
    experts = [*config.model.shared_experts, *config.model.task_experts]
    mlps = [expert for expert in experts if isinstance(expert, MlpExpertConfig)] or [
        MlpExpertConfig()
    ]
    times = sum(expert.count for expert in experts)
    bottom = MlpExpertConfig(hidden=[width * times for width in mlps[0].hidden])
    model = config.model.model_copy(
        update={
            "architecture": "shared_bottom",
            "levels": 1,
            "gates": GatesConfig(),
            "shared_experts": [bottom],
            "task_experts": ModelConfig().task_experts,  # there are none
        }
    )
    return config.model_copy(
        update={"model": model, "adatt": AdaTTConfig(), "combiner": SumConfig()}
    )


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
