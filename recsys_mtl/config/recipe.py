"""Settings that the data decide, wherever the config leaves them open: `training.recipe`.

`table` is for tables of up to some 200,000 rows: small batches, many steps at a constant rate, an
average of the weights, members, and one bottom for up to five tasks where the config says nothing
of experts, adaTT or a combiner: PLE predicts as well there, at five times the cost of a step. More
tasks get a PLE of small experts, at lower rates: some of them have few labels, which high rates fit
before the others have learned.
`stream` is for more rows, or from 25,000 rows on for ids of which most are rare: one pass teaches
most there, and a second may already over-fit. docs/results.md shows what each setting is worth.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from recsys_mtl.config.architecture import ExpertsConfig
from recsys_mtl.config.experts import MlpExpertConfig
from recsys_mtl.config.flat import flat
from recsys_mtl.config.schema import Config
from recsys_mtl.config.section import Section
from recsys_mtl.config.training import EmaConfig

RecipeName = Literal["table", "stream", "none"]
Derived = Mapping[str, Any]
"""`section.key` -> value that a recipe chose."""
S = TypeVar("S", bound=Section)

TABLE_ROWS = 200_000
"""Training rows up to which `auto` takes `table`."""
ROWS_PER_ID = 20
"""Fewer training rows for each row of the embedding tables make ids rare: `auto` takes `stream`."""
STREAM_ROWS = 25_000
"""Fewer training rows are too few steps for `stream`, however rare their ids are."""
FEW_ROWS = 20_000
"""Training rows up to which `table` takes twice the members, as steps are few."""
MANY_TASKS = 6
"""From so many tasks on `table` keeps PLE."""
_WARMUP_STEPS = 50
_FEW_IDS = 5_000


@dataclass(frozen=True)
class DataSize:
    """What a recipe goes by.

    Attributes:
        rows: of training.
        ids: rows of the largest embedding table.
    """

    rows: int
    ids: int

    @property
    def recipe(self) -> RecipeName:
        """The recipe that `auto` takes."""
        rare = self.ids > max(_FEW_IDS, self.rows / ROWS_PER_ID)
        long = self.rows > (STREAM_ROWS if rare else TABLE_ROWS)
        return "stream" if long else "table"


def with_recipe(
    config: Config, size: DataSize, parent: RecipeName | None = None
) -> tuple[Config, Derived]:
    """The config with the keys of its recipe that it leaves open, and these keys.

    A config that comes from here, or was stored by a run, leaves nothing open.

    Args:
        config: of a run.
        size: of its training data.
        parent: recipe of the model that training starts from, which `auto` takes.
    """
    recipe = config.training.recipe
    name = (parent or size.recipe) if recipe == "auto" else recipe
    derived: dict[str, Any] = {}
    if name == "table" and size.rows <= FEW_ROWS:
        config = _filled(config, _MORE_MEMBERS, (), derived)
    if name == "table" and _leaves_experts_open(config):
        experts = _SMALL_EXPERTS if len(config.tasks) >= MANY_TASKS else _ONE_BOTTOM
        config = _filled(config, experts, (), derived)
    config = _filled(config, _RECIPES[name], (), derived)
    if name == "table" and "warmup" not in config.training.optimizer.model_fields_set:
        training = config.training
        steps = training.epochs * max(1, size.rows // training.batch_size)
        share = round(min(0.1, _WARMUP_STEPS / steps), 6)
        config = _filled(config, {"training": {"optimizer": {"warmup": share}}}, (), derived)
    training = config.training.model_copy(update={"recipe": name})
    return config.model_copy(update={"training": training}), flat(derived)


def described(derived: Derived) -> str:
    """What a recipe decided, for people."""
    return ", ".join(f"{key}: {json.dumps(value)}" for key, value in derived.items())


def recipes(tasks: int) -> dict[str, Any]:
    """What a recipe may decide for so many tasks: the identity of trainings that leave it open."""
    experts = {"experts": _SMALL_EXPERTS} if tasks >= MANY_TASKS else {"bottom": _ONE_BOTTOM}
    limits = {"rows": [TABLE_ROWS, STREAM_ROWS, FEW_ROWS], "ids": [ROWS_PER_ID, _FEW_IDS]}
    parts = {**_RECIPES, **experts, "few_rows": _MORE_MEMBERS, "limits": limits}
    return {name: _plain(values) for name, values in parts.items()}


def _filled(section: S, values: Mapping[str, Any], path: tuple[str, ...], derived: Any) -> S:
    """The section with values for keys that are not set; they are noted in `derived`."""
    update: dict[str, Any] = {}
    for key, value in values.items():
        old = getattr(section, key)
        if isinstance(value, Mapping):
            update[key] = _filled(old, value, (*path, key), derived)
        elif key not in section.model_fields_set:
            update[key] = value
            derived[".".join((*path, key))] = _plain(value)
    return section.model_copy(update=update)


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.model_dump()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _leaves_experts_open(config: Config) -> bool:
    """Whether nothing in the config is about experts."""
    model = config.model
    named = {"architecture", "levels", "shared_experts", "task_experts", "gates", "match_width"}
    transfers = config.adatt.mechanism != "off" or config.combiner.name != "sum"
    return not transfers and not named & model.model_fields_set and not model.logit_transfer


_ONE_BOTTOM: Mapping[str, Any] = {
    "model": {
        "architecture": ExpertsConfig(name="shared_bottom"),
        "shared_experts": [MlpExpertConfig(hidden=[128, 64])],
    }
}
_SMALL_EXPERTS: Mapping[str, Any] = {
    "model": {
        "shared_experts": [MlpExpertConfig(count=2, hidden=[64, 32])],
        "task_experts": [MlpExpertConfig(count=1, hidden=[64, 32])],
    },
    "training": {"optimizer": {"learning_rate": 2e-3}, "tables": {"learning_rate": 0.02}},
}
_MORE_MEMBERS: Mapping[str, Any] = {"model": {"members": 16}}
_RECIPES: dict[str, Mapping[str, Any]] = {
    "table": {
        "model": {
            "members": 8,
            "normalization": "none",
            "activation": "relu",
            "tower": {"hidden": [32]},
        },
        "training": {
            "epochs": 60,
            "batch_size": 256,
            "optimizer": {"learning_rate": 5e-3, "schedule": "constant", "clip_norm": 1.0},
            "tables": {"learning_rate": 0.1},
            "averaging": EmaConfig(name="ema", decay=0.998),
            "early_stopping": {"patience": 4},
        },
    },
    "stream": {
        "training": {
            "epochs": 3,
            "tables": {"learning_rate": 0.1},
            "averaging": EmaConfig(name="ema", decay=0.998),
            "early_stopping": {"patience": 1},
        },
    },
    "none": {},
}
