"""The training config next to the rows; that it validates is tested with the pipelines."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_synth import Plan, presets
from data_synth.block import RowBlock
from data_synth.train_config import train_config
from recsys_mtl.config import load_config
from tests.marks import slow_except


def load(plan: Plan, folder: Path) -> Any:
    path = folder / "train.yaml"
    path.write_text(train_config(plan))
    return load_config(path)


@pytest.mark.parametrize("name", presets())
def test_it_is_plain_yaml_and_a_valid_config(
    name: str, plan_of: Callable[..., Plan], tmp_path: Path
) -> None:
    text = train_config(plan_of(name))
    events = list(yaml.parse(text))
    assert not any(isinstance(event, yaml.AliasEvent) for event in events)
    assert not any(getattr(event, "anchor", None) for event in events)
    config = load(plan_of(name), tmp_path)
    assert config.name == name
    assert not config.model.model_fields_set  # a recipe decides
    assert config.training.model_fields_set == {"threads"}
    assert list(config.tasks) == list(plan_of(name).tasks)


@pytest.mark.parametrize("name", slow_except(["kinds"], ["small", "kinds", "bank16"]))
def test_every_column_is_a_feature_a_label_or_ignored(
    name: str,
    plan_of: Callable[..., Plan],
    blocks_of: Callable[..., list[RowBlock]],
    tmp_path: Path,
) -> None:
    config = load(plan_of(name), tmp_path)
    columns = set(blocks_of(1, name)[0].rows.column_names) | {"month"}
    ignored = {c for c in columns if any(fnmatch.fnmatch(c, p) for p in config.data.ignore)}
    used = (set(config.features), set(config.tasks), ignored)
    assert set.union(*used) == columns
    assert sum(map(len, used)) == len(columns)  # none twice
    assert ignored == {"row_id", "customer_id", "day", "month"}
    assert config.data.path == "rows"  # not the truth next to them


def test_kinds_and_transforms(plan_of: Callable[..., Plan], tmp_path: Path) -> None:
    config = load(plan_of("kinds"), tmp_path)
    kinds = {name: task.kind for name, task in config.tasks.items()}
    assert kinds["kept"] == kinds["click"] == "binary"
    assert (kinds["segment"], kinds["merchant"]) == ("multiclass", "retrieval")
    assert config.tasks["lognormal"].transform == "log1p"
    assert config.features["recent_01"].kind == "categorical_list"
    assert config.features["item_01"].kind == "categorical"


def test_without_demographics(plan_of: Callable[..., Plan], tmp_path: Path) -> None:
    config = load(plan_of("small", "features.demographics=false"), tmp_path)
    assert not {"age", "region", "education"} & set(config.features)
