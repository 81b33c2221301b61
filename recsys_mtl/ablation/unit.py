"""One seed of an ablation: its data once, then every arm that is not done yet.

A unit's result is one JSON file that appears when it is whole, so that a killed ablation goes on
behind it.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from data_synth import Truth, synthesize
from recsys_mtl.ablation.arms import ALONE, Known
from recsys_mtl.ablation.plan import Ablation, arm_config, base_config, synthetic_plan
from recsys_mtl.ablation.scores import reach, score, true_score
from recsys_mtl.config import Config, config_hash, label_of
from recsys_mtl.data.prepare import Prepared, prepare
from recsys_mtl.data.raw import RawRows
from recsys_mtl.files import atomic_write
from recsys_mtl.memory import peak_memory_mb, reset_peak_memory
from recsys_mtl.runs.one_task import one_task
from recsys_mtl.runs.reachable import truth_of
from recsys_mtl.training.evaluate import Scores
from recsys_mtl.wiring.run import build_evaluator
from recsys_mtl.wiring.trainer import Fitted, fit_network

log = logging.getLogger(__name__)
Unit = Mapping[str, Any]


@dataclass(frozen=True)
class Context:
    """What the arms of a seed share.

    Attributes:
        config: the reference's base.
        prepared: its data.
        known: labels and relations.
        truth: beside generated rows.
        linear: by label column (R,), true linear predictors of the test rows; empty without truth.
        items: by label column (R,), the items of retrieval tasks as the truth knows them.
    """

    config: Config
    prepared: Prepared
    known: Known
    truth: Truth | None
    linear: dict[str, Any]
    items: dict[str, Any]


def run_seed(ablation: Ablation, seed: int, out: Path, *, threads: int | None) -> Iterator[Unit]:
    """Train every arm of a seed that has no result yet, and give each result once it is stored.

    Args:
        ablation: the plan.
        seed: which one.
        out: the ablation's folder.
        threads: CPU threads, where the config names none.

    Raises:
        UserError: the base config, an arm or the data are wrong.
        KeyboardInterrupt: Ctrl-C.
    """
    names, first = ablation.names, seed % len(ablation.names)  # no arm is always first, and slow
    turns = (*names[first:], *names[:first])
    missing = [name for name in turns if not unit_path(out, name, seed).exists()]
    data = out / "data" / f"seed-{seed}"
    context = _context(ablation, seed, data, threads)
    configs = {n: arm_config(ablation, n, context.config, context.known) for n in missing}
    for name, config in configs.items():
        log.debug("seed %d: %s", seed, name)
        alone = name in ALONE and name in ablation.ready
        result = {"arm": name, "seed": seed} | _run_arm(config, context, alone=alone)
        atomic_write(unit_path(out, name, seed), json.dumps(result, allow_nan=False) + "\n")
        yield result
    shutil.rmtree(data, ignore_errors=True)


def unit_path(out: Path, arm: str, seed: int) -> Path:
    """Where a unit's result is kept."""
    return out / "units" / arm / f"seed-{seed}.json"


def _context(ablation: Ablation, seed: int, data: Path, threads: int | None) -> Context:
    root = None
    if ablation.synthetic is not None:
        plan = synthetic_plan(ablation, seed)
        synthesize(plan, data, rows=ablation.synthetic.rows, processes=1)
        root = data
    config = base_config(ablation, seed, root)
    if config.training.threads is None and threads is not None:
        training = config.training.model_copy(update={"threads": threads})
        config = config.model_copy(update={"training": training})
    prepared = prepare(config)
    truth, linear, items = _truth(config, prepared.splits.rows("test"))
    return Context(config, prepared, _known(config, prepared, truth), truth, linear, items)


def _truth(config: Config, test: RawRows) -> tuple[Truth | None, dict[str, Any], dict[str, Any]]:
    truth = truth_of(test)
    if truth is None:
        return None, {}, {}
    labels = {label_of(name, task): task.kind for name, task in config.tasks.items()}
    items = [c for c, kind in labels.items() if kind == "retrieval" and c in truth.targets]
    read = ["row_id", *items]
    rows = pl.concat([frame.select(read) for frame in test.frames(read)])
    linear = truth.linear(rows["row_id"].to_numpy(), sorted(labels.keys() & truth.targets.keys()))
    return truth, linear, {c: truth.label_index(c, rows[c].to_arrow()) for c in items}


def _known(config: Config, prepared: Prepared, truth: Truth | None) -> Known:
    labelled = np.zeros(len(config.tasks), dtype=np.int64)
    for batch in prepared.loaders["train"].epoch(0):
        labelled += (~batch.labels.isnan()).sum(0).numpy()
    counts = dict(zip(config.tasks, labelled.tolist(), strict=True))
    relation = _relation(config, truth)
    return Known(counts, relation, _groups(config, truth) if truth and relation else {})


def _groups(config: Config, truth: Truth) -> dict[str, list[str]]:
    """The plan's groups, by the config's names of their tasks."""
    names = {label_of(task, spec): task for task, spec in config.tasks.items()}
    planned: dict[str, list[str]] = truth.content["relation"]["groups"]
    found = {group: [names[t] for t in tasks if t in names] for group, tasks in planned.items()}
    return {group: tasks for group, tasks in found.items() if tasks}


def _relation(config: Config, truth: Truth | None) -> dict[str, dict[str, float]]:
    """Planned correlations of the config's tasks; a complement's are those of its task, turned."""
    if truth is None:
        return {}
    planned = truth.relation()
    names = {task: label_of(task, spec) for task, spec in config.tasks.items()}
    if not set(names.values()) <= planned.keys():
        return {}
    return {a: {b: planned[names[a]][names[b]] for b in config.tasks} for a in config.tasks}


def _run_arm(config: Config, context: Context, *, alone: bool) -> dict[str, Any]:
    same = _prepared_by(config) == _prepared_by(context.config)
    prepared = context.prepared if same else prepare(config)
    reset_peak_memory()
    begun = time.perf_counter()
    fitted, scores = (_one_by_one if alone else _fit)(config, prepared)
    seconds = time.perf_counter() - begun
    tasks, true, reachable = {}, {}, {}
    for task, spec in config.tasks.items():
        tasks[task] = _number(score(spec.kind, scores, task))
        column = label_of(task, spec)
        if context.truth is not None and column in context.linear:
            target = context.truth.targets[column]
            linear = context.linear[column]
            true[task] = _number(true_score(target, scores, task, linear))
            reachable[task] = [_number(x) for x in reach(target, linear, context.items.get(column))]
    return {
        "config_hash": config_hash(config),
        "scores": tasks,
        "true_scores": true,
        "reachable": reachable,
        "measure": config.adatt.measure_name,
        "threshold": config.adatt.threshold,
        "losses": scores.losses,
        "labelled": dict(context.known.labelled),
        "relation": context.known.relation,
        "kinds": {task: spec.kind for task, spec in config.tasks.items()},
        "epochs": len(fitted.result.epochs) / (len(config.tasks) if alone else 1),
        "best_epoch": fitted.result.best_epoch,
        "train_seconds": sum(epoch.seconds for epoch in fitted.result.epochs),
        "seconds": seconds,
        "peak_memory_mb": peak_memory_mb(),
        "transfer": [epoch.transfer for epoch in fitted.result.epochs if epoch.transfer],
    }


def _prepared_by(config: Config) -> tuple[Any, ...]:
    training = config.training
    tasks = {name: task.model_dump(exclude={"weight"}) for name, task in config.tasks.items()}
    return (
        config.data, config.features, config.seed, tasks, config.model.embedding.dim,
        training.batch_size, training.shuffle_seed,
    )  # fmt: skip


def _fit(config: Config, prepared: Prepared) -> tuple[Fitted, Scores]:
    fitted = fit_network(config, prepared)
    if fitted.result.stopped == "interrupted":
        raise KeyboardInterrupt  # half a unit is none
    evaluator = build_evaluator(config, prepared.preprocessor, precision="fp32")
    return fitted, evaluator(fitted.network, prepared.loaders["test"])


def _one_by_one(config: Config, prepared: Prepared) -> tuple[Fitted, Scores]:
    """A network a task; what is told of the training is that of the last."""
    parts = [_fit(*one_task(config, prepared, task)) for task in config.tasks]
    fitted, scores = parts[-1]
    epochs = tuple(epoch for part, _ in parts for epoch in part.result.epochs)
    fitted = replace(fitted, result=replace(fitted.result, epochs=epochs))
    together: dict[str, Any] = {
        name: {key: value for _, part in parts for key, value in getattr(part, name).items()}
        for name in ("losses", "labelled", "metrics", "predictions", "labels")
    }
    return fitted, replace(scores, **together)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
