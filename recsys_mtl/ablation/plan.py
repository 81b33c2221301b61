"""What an ablation's YAML may say, and the runs that it stands for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PositiveInt, model_validator

from data_synth import Plan, load_plan, presets
from data_synth.train_config import train_config
from recsys_mtl.ablation.arms import READY, Known, changed, reported_as
from recsys_mtl.config import (
    Config,
    config_from_yaml,
    load_config,
    read_text,
    section_from_yaml,
)
from recsys_mtl.config.explain import Finding
from recsys_mtl.config.schema import TrackingConfig
from recsys_mtl.config.section import Name, Section
from recsys_mtl.config.yaml_text import KeyPath
from recsys_mtl.errors import did_you_mean, wrong
from recsys_mtl.study.plan import SeedsConfig


class Seeds(SeedsConfig):
    """A seed governs data (where they are generated), split, initial weights and order of rows."""

    first: Annotated[int, Field(ge=0, lt=2**30)] = Field(100, description="the first one")
    count: Annotated[int, Field(ge=2, le=10_000)] = Field(
        10, description="how many, one after the other"
    )


class Synthetic(Section):
    """Rows generated anew for every seed."""

    plan: str = Field(description="preset, or a plan's YAML file")
    rows: PositiveInt = Field(60_000, description="number of rows")
    change: dict[str, Any] = Field({}, description="keys of the plan, such as features.revealed")


class Ablation(Section):
    """Arms, each a change of one config, trained on the same seeds."""

    name: Name = Field(description="parent run in MLflow; ablations/NAME is the default folder")
    base: str | None = Field(
        None, description="the config that arms change; that of the generated rows if null"
    )
    synthetic: Synthetic | None = Field(None, description="where there is no data set in base")
    change: dict[str, Any] = Field(
        {}, description="for all arms: config path -> value, such as training.epochs: 5"
    )
    seeds: Seeds = Seeds()
    ready: list[str] = Field([], description="ready-made arms, by name; see docs/adatt.md")
    arms: dict[Name, dict[str, Any]] = Field(
        {}, description="your own: name -> config path -> value"
    )
    reference: str = Field("off", description="the arm that all others are compared with")
    alpha: Annotated[float, Field(gt=0.0, le=0.1)] = Field(
        0.005, description="intervals and verdicts are of the level 1 - alpha"
    )
    matters: Annotated[float, Field(ge=0.0)] = Field(
        0.1, description="points that a difference has to exceed, to help or hurt"
    )
    holm: bool = Field(False, description="correct p over the arms (Holm 1979)")
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _has_data(self) -> Ablation:
        if self.base is None and self.synthetic is None:
            raise ValueError("needs base (a config) or synthetic (rows to generate)")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Of all arms, the reference first."""
        others = [name for name in (*self.ready, *self.arms) if name != self.reference]
        return (self.reference, *dict.fromkeys(others))


def load_ablation(path: Path, overrides: Sequence[str] = ()) -> Ablation:
    """Read an ablation's file.

    Raises:
        UserError: lists all problems.
    """
    return section_from_yaml(
        Ablation, read_text(path), where=str(path), overrides=overrides, check=_contradictions
    )


def check_arms(ablation: Ablation) -> None:
    """Try the changes of all arms before anything is generated or trained.

    Raises:
        UserError: the base config or the plan is wrong, or an arm does not fit.
    """
    if ablation.synthetic is not None:
        synthetic_plan(ablation, ablation.seeds.first)
    config = base_config(ablation, ablation.seeds.first)
    guess = Known(
        dict.fromkeys(config.tasks, 1),
        {task: {} for task in config.tasks},
    )
    for name in ablation.names:
        arm_config(ablation, name, config, guess)


def arm_config(ablation: Ablation, name: str, config: Config, known: Known) -> Config:
    """The config of an arm.

    Raises:
        UserError: the arm's changes do not fit the base, or change what it is tested on.
    """
    if name in ablation.arms:
        where = f"arms.{name}"
        arm = changed(config, as_overrides(ablation.arms[name]), where)
    else:
        where = f"ready arm {name}"
        arm = changed(READY[name](config, known), [], where)
    if arm.training.recipe != config.training.recipe:
        raise wrong(
            "an arm may not change the recipe", where=where,
            expected="the recipe of the base, and keys of it", fix="set the keys: model.members: 1",
        )  # fmt: skip
    if tested_on(arm) != tested_on(config):
        raise wrong(
            "an arm may not change what it is tested on", where=where,
            expected="the data, seed and labels of the base", fix="make it an ablation of its own",
        )  # fmt: skip
    return arm


def tested_on(config: Config) -> tuple[Any, ...]:
    """Rows and labels; how a task is learned is an arm's business."""
    learning = {"weight", "loss", "gamma", "alpha", "delta", "transform", "dim", "temperature"}
    learning |= {"entire_space", "counterfactual", "class_weights", "logq_correction"}
    data = config.data.model_dump(exclude={"negatives"})  # thins training rows alone
    labels = {name: task.model_dump(exclude=learning) for name, task in config.tasks.items()}
    return data, config.seed, labels, [*labels]


def base_config(ablation: Ablation, seed: int, root: Path | None = None) -> Config:
    """What the arms of a seed change.

    Args:
        ablation: the plan.
        seed: of the run, and of the rows where they are generated.
        root: folder of generated rows.
    """
    overrides = [f"seed={seed}", *as_overrides(ablation.change)]
    if root is not None:
        overrides.append(f"data.root={json.dumps(str(root))}")
    with reported_as("change"):
        if ablation.base is not None:
            return load_config(ablation.base, overrides)
        text = train_config(synthetic_plan(ablation, seed))
        return config_from_yaml(text, where="config", overrides=overrides)


def synthetic_plan(ablation: Ablation, seed: int) -> Plan:
    """What a seed's rows are generated from."""
    assert ablation.synthetic is not None
    changes = [f"seed={seed}", *as_overrides(ablation.synthetic.change)]
    with reported_as("synthetic.change"):
        return load_plan(ablation.synthetic.plan, changes)


def as_overrides(change: dict[str, Any]) -> list[str]:
    """Path -> value as `--set` takes it."""
    return [f"{path}={json.dumps(value, ensure_ascii=False)}" for path, value in change.items()]


def _contradictions(ablation: Ablation) -> Iterator[Finding]:
    for index, name in enumerate(ablation.ready):
        if name not in READY:
            path = ("ready", index)
            yield Finding(path, "no such ready-made arm", found=name, fix=did_you_mean(name, READY))
        if name in ablation.ready[:index]:
            yield Finding(("ready", index), "requested twice", found=name)
        elif name in ablation.arms:
            yield Finding(("arms", name), "the name of a ready-made arm that is requested too")
    yield from whole_sections(("change",), ablation.change)
    if ablation.synthetic is not None:
        yield from whole_sections(("synthetic", "change"), ablation.synthetic.change)
    for name, change in ablation.arms.items():
        yield from whole_sections(("arms", name), change)
    known = (*ablation.ready, *ablation.arms)
    if ablation.reference not in known:
        fix = did_you_mean(ablation.reference, known)
        yield Finding(("reference",), "no such arm", found=ablation.reference, fix=fix)
    if len(ablation.names) < 2:
        yield Finding(("arms",), "nothing to compare", "two arms or more")
    plan = ablation.synthetic.plan if ablation.synthetic is not None else ""
    if plan and not Path(plan).suffix and plan not in presets():
        fix = did_you_mean(plan, presets())
        yield Finding(("synthetic", "plan"), "no such preset", found=plan, fix=fix)


def whole_sections(path: KeyPath, change: dict[str, Any]) -> Iterator[Finding]:
    """They would lose what else the base says there: nobody means that."""
    for key, value in change.items():
        if isinstance(value, dict) and "." not in key:
            expected = "config path -> value, such as training.epochs: 5"
            yield Finding((*path, key), "replaces a whole section", expected)
