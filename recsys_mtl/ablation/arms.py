"""Ready-made arms: the methods, and the controls without which their effects mean little.

An arm is a change of a config. Some need to know the data: how many labels each task has, and,
where rows are generated, which tasks are related.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter

from recsys_mtl.adatt import near_best
from recsys_mtl.config import Config, config_from_mapping
from recsys_mtl.config.adatt import (
    AdaTTConfig,
    BorrowConfig,
    MeasureConfig,
    PriorConfig,
    TaskGroupConfig,
)
from recsys_mtl.config.architecture import ExpertsConfig
from recsys_mtl.config.balancing import GradNormConfig
from recsys_mtl.config.combiner import CombinerConfig
from recsys_mtl.config.model import GatesConfig, ModelConfig
from recsys_mtl.errors import relocated, wrong
from recsys_mtl.gradients import COMBINERS
from recsys_mtl.runs.compare_baselines import as_shared_bottom


@dataclass(frozen=True)
class Known:
    """What is known of the data of a seed.

    Attributes:
        labelled: labelled training rows of each task.
        relation: task -> task -> planned correlation; empty where no truth is known.
        groups: planned groups of tasks; empty likewise.
    """

    labelled: Mapping[str, int]
    relation: Mapping[str, Mapping[str, float]]
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)


Arm = Callable[[Config, Known], Config]


def changed(config: Config, overrides: list[str], where: str) -> Config:
    """The config with `path=value` overrides, checked together.

    Raises:
        UserError: they do not fit.
    """
    with reported_as(where):
        return config_from_mapping(config.model_dump(), where="config", overrides=overrides)


def reported_as(where: str) -> AbstractContextManager[None]:
    """Report mistakes in overrides as in the part of the ablation's file that they come from."""
    start = re.compile(r"--set |config(:\d+)?: ")
    return relocated(lambda own: start.sub(f"{where}: ", own, 1))


def _adatt(**changes: Any) -> Arm:
    def arm(config: Config, known: Known) -> Config:
        del known
        return _with_adatt(config, changes)

    return arm


def _with_adatt(config: Config, changes: Mapping[str, Any]) -> Config:
    """A mechanism as it is by default, but for `changes`, which change sections key by key.

    Of the base it keeps when it acts, the prior, how often and on how many rows it measures, how
    much is borrowed and what is scarce: an arm is what its name says, whatever else the base says.
    """
    base = config.adatt
    section = AdaTTConfig(
        warmup_epochs=base.warmup_epochs,
        freeze_epoch=base.freeze_epoch,
        freeze_gates=base.freeze_gates,
        prior=base.prior,
        measure=MeasureConfig(
            interval=base.measure.interval, rows=base.measure.rows, decay=base.measure.decay
        ),
        borrow=BorrowConfig(strength=base.borrow.strength, scarce=base.borrow.scarce),
    )
    for name, value in changes.items():
        if isinstance(value, dict):
            value = getattr(section, name).model_copy(update=value)
        section = section.model_copy(update={name: value})
    return config.model_copy(update={"adatt": section})


def _off(config: Config, known: Known) -> Config:
    return _adatt(mechanism="off")(config, known)


def _noise_floor(config: Config, known: Known) -> Config:
    """Off again, rows in another order."""
    training = config.training.model_copy(update={"shuffle_seed": config.seed + 1_000_003})
    return _off(config.model_copy(update={"training": training}), known)


def _faster(config: Config, known: Known) -> Config:
    """Off with learning rates times 1.25."""
    training = config.training
    optimizer, tables = (
        part.model_copy(update={"learning_rate": 1.25 * part.learning_rate})
        for part in (training.optimizer, training.tables)
    )
    update = {"training": training.model_copy(update={"optimizer": optimizer, "tables": tables})}
    return _off(config.model_copy(update=update), known)


def _count(config: Config, known: Known) -> Config:
    """Off with task weights by the root of the labelled rows, 1 in the mean."""
    roots = {name: np.sqrt(max(known.labelled[name], 1)) for name in config.tasks}
    mean = float(np.mean(list(roots.values())))
    tasks = {
        name: task.model_copy(update={"weight": float(task.weight * roots[name] / mean)})
        for name, task in config.tasks.items()
    }
    return _off(config.model_copy(update={"tasks": tasks}), known)


def _planted(config: Config, known: Known) -> Config:
    """Borrow from the truly related tasks, by the rule that measured donors are chosen by."""
    if not known.relation:
        raise wrong(
            "arm borrow_planted needs rows whose relations are known", where="ready",
            fix="use synthetic rows, or leave it out",
        )  # fmt: skip
    donors = {}
    for task, row in known.relation.items():
        sizes = {
            other: abs(value)
            for other, value in row.items()
            if abs(value) < 1 and not config.tasks[other].has_items  # not itself turned
        }
        chosen = near_best(torch.tensor([[0.0, *sizes.values()]], dtype=torch.float64))[0, 1:]
        donors[task] = [name for name, is_donor in zip(sizes, chosen, strict=True) if is_donor]
    return _with_adatt(config, _BORROW | {"borrow": {"donors": donors}})


def _favoured(config: Config, known: Known) -> Config:
    """Published adaTT with every advantage: the planned groups, measured on all rows each step."""
    groups = {
        name: TaskGroupConfig(tasks=list(t), strength=0.7) for name, t in known.groups.items()
    }
    prior = config.adatt.prior.model_copy(update={"groups": groups}) if groups else PriorConfig()
    often = {"interval": 1, "rows": None}
    return _with_adatt(
        config,
        {"mechanism": "loss", "masking": "zero_logit", "prior": dict(prior), "measure": often},
    )


def _with_model(config: Config, **changes: Any) -> Config:
    return config.model_copy(update={"model": config.model.model_copy(update=changes)})


def _large(config: Config, known: Known) -> Config:
    """Off; alone, each task has as many experts as all of them together."""
    experts = [
        e.model_copy(update={"count": len(config.tasks) * e.count})
        for e in config.model.task_experts
    ]
    return _off(_with_model(config, task_experts=experts), known)


def _combiner(**section: Any) -> Arm:
    """Off, with another combiner of task gradients."""
    chosen: CombinerConfig = TypeAdapter(CombinerConfig).validate_python(section)

    def arm(config: Config, known: Known) -> Config:
        return _off(config.model_copy(update={"combiner": chosen}), known)

    return arm


def _gradnorm(config: Config, known: Known) -> Config:
    return _off(config.model_copy(update={"balancing": GradNormConfig(name="gradnorm")}), known)


def _shared_bottom(config: Config, known: Known) -> Config:
    return as_shared_bottom(_off(config, known))


def _mmoe(config: Config, known: Known) -> Config:
    """Off; all tasks share the experts that a task of the base mixes."""
    experts = [*config.model.shared_experts, *config.model.task_experts]
    none = ModelConfig().task_experts  # as MMoE takes it
    shared = _with_model(
        config, architecture=ExpertsConfig(name="mmoe"), levels=1, gates=GatesConfig(),
        shared_experts=experts, task_experts=none,
    )  # fmt: skip
    return _off(shared, known)


def _architecture(name: str) -> Arm:
    """Off, with another architecture of the same experts and its default settings."""

    def arm(config: Config, known: Known) -> Config:
        changes = [f"model.architecture={name}", "model.levels=1", "model.gates.preferred={}"]
        if known.groups and not config.adatt.prior.groups:
            groups = {group: {"tasks": list(tasks)} for group, tasks in known.groups.items()}
            changes.append(f"adatt.prior.groups={json.dumps(groups)}")
        return changed(_off(config, known), changes, f"ready arm {name}")

    return arm


def _wider(config: Config, known: Known) -> Config:
    """Off with twice the shared experts."""
    experts = [e.model_copy(update={"count": 2 * e.count}) for e in config.model.shared_experts]
    return _off(_with_model(config, shared_experts=experts), known)


_BORROW = {"mechanism": "borrow"}

READY: dict[str, Arm] = {
    **{name: _combiner(name=name) for name in COMBINERS},
    "cagt_expert": _combiner(name="cagt", block="expert"),
    "gradnorm": _gradnorm,
    "off": _off,
    "noise_floor": _noise_floor,
    "losses_x1.1": _adatt(
        # With equal weights, Σ_i L_i' = 1.1 Σ_i L_i, from the end of the warm-up on.
        mechanism="loss", temperature=1e6, threshold=-1.0, max_ratio=None, learn_weights=False,
        prior={"start": 0.0, "end": 0.0},
    ),
    "rate_x1.25": _faster,
    "count": _count,
    "more_experts": _wider,
    "shared_bottom": _shared_bottom,
    "mmoe": _mmoe,
    **{name: _architecture(name) for name in ("ple", "aitm", "pepnet", "home", "stem")},
    "single_task": _off,
    "single_task_large": _large,
    "published": _adatt(mechanism="loss", masking="zero_logit"),
    "published_favoured": _favoured,
    "exact_masking": _adatt(mechanism="loss", masking="exclude"),
    "gradient": _adatt(mechanism="gradient", measure={"scope": "expert"}),
    "borrow": _adatt(**_BORROW),
    "borrow_rare": _adatt(**_BORROW, borrow={"scarce": "rare"}),
    "borrow_uniform": _adatt(**_BORROW, borrow={"donors": "uniform"}),
    "borrow_planted": _planted,
    "measure_cosine": _adatt(mechanism="loss", strength=0.0),
    "measure_cosine_debiased": _adatt(mechanism="loss", strength=0.0, measure={"debias": True}),
    "measure_logits": _adatt(mechanism="loss", strength=0.0, measure={"name": "logit_correlation"}),
    "measure_averaged": _adatt(
        mechanism="loss", strength=0.0, measure={"name": "averaged_gradient"}
    ),
}  # fmt: skip
"""Arms by name."""

ALONE = ("single_task", "single_task_large")
"""Of these, a network is trained for each task alone."""
