"""One unit of an ablation: an arm trained on the data of a seed, and its numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from recsys_mtl.ablation.arms import ALONE
from recsys_mtl.ablation.lists import within_lists
from recsys_mtl.ablation.plan import Ablation, arm_config
from recsys_mtl.ablation.scores import reach, score, true_score
from recsys_mtl.ablation.seed import SeedData, open_seed
from recsys_mtl.config import Config, config_hash, label_of
from recsys_mtl.config.check_adatt import kept_from_warmup
from recsys_mtl.config.flat import flat
from recsys_mtl.data.patterns import expanded
from recsys_mtl.data.prepare import Prepared, prepare
from recsys_mtl.errors import prefixed
from recsys_mtl.files import remove_at_once
from recsys_mtl.memory import peak_memory_mb, reset_peak_memory
from recsys_mtl.runs.one_task import one_task
from recsys_mtl.runs.parent import load_parent
from recsys_mtl.runs.reachable import true_target
from recsys_mtl.study.unit import Unit
from recsys_mtl.training.evaluate import Scores
from recsys_mtl.wiring.trainer import Fitted, fit_and_test

GENERATED = "_rows"
"""Folder of generated rows in a study's; what killed processes left in it goes with the report."""


@dataclass(frozen=True)
class ArmUnit(Unit):
    """An arm on a seed."""

    arm: str
    seed: int

    @property
    def identity(self) -> Mapping[str, str | int]:
        """Arm and seed."""
        return asdict(self)


@contextmanager
def arm_trainer(
    ablation: Ablation, batch: Sequence[ArmUnit], out: Path, *, threads: int | None
) -> Iterator[Callable[[ArmUnit], dict[str, Any]]]:
    """Open the data of a seed to train arms on; generated rows are deleted after the last arm.

    Args:
        ablation: the plan.
        batch: arms of one seed; all of them are checked before the first is trained.
        out: the ablation's folder.
        threads: CPU threads, where the config names none.

    Raises:
        UserError: the base config, an arm or the data are wrong.
    """
    seed = batch[0].seed
    folder = out / GENERATED / f"seed-{seed}"
    data = open_seed(ablation, seed, folder, threads=threads)
    configs = {u.arm: arm_config(ablation, u.arm, data.config, data.known) for u in batch}

    def train(unit: ArmUnit) -> dict[str, Any]:
        alone = unit.arm in ALONE and unit.arm in ablation.ready
        with prefixed(f"arm {unit.arm}, seed {unit.seed}"):
            return train_arm(configs[unit.arm], data, alone=alone)

    yield train
    remove_at_once(folder)


def train_arm(config: Config, data: SeedData, *, alone: bool) -> dict[str, Any]:
    """Train an arm and measure it on the test rows.

    Args:
        config: of the arm.
        data: of its seed.
        alone: whether a network is trained for each task.

    Returns:
        The numbers of the unit's result.

    Raises:
        KeyboardInterrupt: Ctrl-C; an interrupted unit has no result.
    """
    config = expanded(config)
    same = prepared_by(config) == prepared_by(expanded(data.config))
    prepared = data.prepared if same else prepare(config, parent=load_parent(config))
    reset_peak_memory()
    begun = time.perf_counter()
    fitted, scores = (_one_by_one if alone else fit_and_test)(config, prepared)
    seconds = time.perf_counter() - begun
    tasks, true, reachable = {}, {}, {}
    for task, spec in config.tasks.items():
        tasks[task] = score(spec.kind, scores, task)
        column = label_of(task, spec)
        if data.truth is None:
            continue
        if (known := true_target(config, data.truth, data.linear, task)) is not None:
            target, linear = known
            true[task] = true_score(target, scores, task, linear)
            reachable[task] = reach(target, linear, data.items.get(column))
    return {
        "config_hash": config_hash(config),
        "changes": _changes(data.config, config),
        "scores": tasks,
        "true_scores": true,
        "reachable": reachable,
        "measure": config.adatt.measure_name,
        "threshold": config.adatt.threshold,
        "losses": scores.losses,
        "lists": within_lists(scores, {task: spec.kind for task, spec in config.tasks.items()}),
        "labelled": dict(data.known.labelled),
        "relation": data.known.relation,
        "kinds": {task: spec.kind for task, spec in config.tasks.items()},
        "epochs": len(fitted.result.epochs) / (len(config.tasks) if alone else 1),
        "best_epoch": fitted.result.best_epoch,
        "kept_from_warmup": kept_from_warmup(config, fitted.result.best_epoch),
        "train_seconds": sum(epoch.seconds for epoch in fitted.result.epochs),
        "seconds": seconds,
        "peak_memory_mb": peak_memory_mb(),
        "transfer": [epoch.transfer for epoch in fitted.result.epochs if epoch.transfer],
    }


def _changes(base: Config, arm: Config) -> dict[str, Any]:
    """The keys of an arm that are not those of the base; null where it lacks one."""
    before, after = (flat(config.model_dump()) for config in (base, arm))
    keys = [key for key in (before | after) if before.get(key) != after.get(key)]
    return {key: after.get(key) for key in keys}


_NOT_OF_ROWS = {"weight", "entire_space", "counterfactual"}


def prepared_by(config: Config) -> tuple[Any, ...]:
    """What the prepared data depend on: configs with equal ones can share them."""
    training = config.training
    tasks = {name: task.model_dump(exclude=_NOT_OF_ROWS) for name, task in config.tasks.items()}
    return (
        config.data, config.features, config.seed, tasks, config.model.embedding.dim,
        training.batch_size, training.shuffle_seed, config.evaluation.keys,
        training.warm_start,
    )  # fmt: skip


def _one_by_one(config: Config, prepared: Prepared) -> tuple[Fitted, Scores]:
    """A network per task; the reported training is that of the last."""
    parts = [fit_and_test(*one_task(config, prepared, task)) for task in config.tasks]
    fitted, scores = parts[-1]
    epochs = tuple(epoch for part, _ in parts for epoch in part.result.epochs)
    fitted = replace(fitted, result=replace(fitted.result, epochs=epochs))
    together: dict[str, Any] = {
        name: {key: value for _, part in parts for key, value in getattr(part, name).items()}
        for name in ("losses", "labelled", "metrics", "predictions", "labels")
    }
    return fitted, replace(scores, **together)
