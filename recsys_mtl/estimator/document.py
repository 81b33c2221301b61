"""From what `MultiTaskModel` was given to the config of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from recsys_mtl.config import Config, config_from_mapping, yaml_text
from recsys_mtl.config.schema import Config as Schema
from recsys_mtl.draft import draft
from recsys_mtl.errors import did_you_mean, wrong
from recsys_mtl.storage.location import located

WHERE = "MultiTaskModel"
WEIGHT = "sample_weight"
_OWN = ("name", "seed", "features", "tasks")
_PLACES = ("path", "root", "format", "csv", "split", "ignore")
_SETTINGS = [key for key in Schema.model_fields if key not in _OWN]


def labels_of(tasks: Any) -> dict[str, str]:
    """Task → its label column.

    Raises:
        UserError: no tasks are named, or one is named by no text or mapping.
    """
    if isinstance(tasks, str):
        tasks = [tasks]
    if not tasks:
        expected = "tasks={'click': 'binary'}, or the label columns: tasks=['click', 'churn']"
        raise wrong("no tasks", where=WHERE, expected=expected)
    if not isinstance(tasks, Mapping):
        return {str(name): str(name) for name in tasks}
    return {
        str(name): str(task.get("label") or name) if isinstance(task, Mapping) else str(name)
        for name, task in tasks.items()
    }


def config_of(
    tasks: Any,
    features: Any,
    settings: Mapping[str, Any] | None,
    seed: int,
    *,
    rows: pl.DataFrame,
    folder: Path,
    split: Mapping[str, Any] | None,
    weighted: bool,
) -> Config:
    """The config of a run on rows that are files in a folder.

    What is not given is drafted from the rows; see `recsys_mtl.draft`.

    Args:
        tasks: by name the kind or a section of the config; or label columns.
        features: by name a section; columns; or None: all columns.
        settings: other sections of the config.
        seed: of the run.
        rows: the training rows, which are in `folder/train.parquet`.
        folder: where the files are.
        split: `data.split`, where the settings do not have it.
        weighted: whether there is a column of weights.

    Raises:
        UserError: anything that is wrong with these.
    """
    document = {key: dict(value) for key, value in (settings or {}).items()}
    for key in document:
        if key not in _SETTINGS:
            fix = did_you_mean(key, _SETTINGS)
            raise wrong("unknown section", where=f"{WHERE}: settings", found=key, fix=fix)
    drafted = _drafted(tasks, features, rows, folder)
    data: dict[str, Any] = {"split": split, "ignore": ["*"]} | document.get("data", {})
    data |= {"path": "train.parquet", "root": str(folder)}
    data |= {"weight": WEIGHT} if weighted else {}
    return config_from_mapping(
        {"tracking": {"enabled": False}}
        | document
        | {"name": "model", "seed": seed, "data": data}
        | {"features": _features(features, drafted), "tasks": _tasks(tasks, drafted)},
        where=WHERE,
    )


def _drafted(tasks: Any, features: Any, rows: pl.DataFrame, folder: Path) -> dict[str, Any]:
    """The sections that a draft has, if anything is left to it."""
    labels = [*labels_of(tasks).values()]
    if isinstance(features, Mapping) and isinstance(tasks, Mapping):
        return {"features": {}, "tasks": {}}
    for name in labels:
        if name not in rows.columns:
            fix = did_you_mean(name, rows.columns)
            raise wrong("no such label column", where=f"{WHERE}: tasks", found=name, fix=fix)
    table = folder / "train.parquet"
    if features is not None and not isinstance(features, Mapping):
        wanted = dict.fromkeys([*map(str, features), *labels])
        if missing := [name for name in wanted if name not in rows.columns]:
            fix = did_you_mean(missing[0], rows.columns)
            raise wrong("no such column", where=f"{WHERE}: features", found=missing[0], fix=fix)
        table = folder / "chosen.parquet"
        rows.select(*wanted).write_parquet(table)
    parsed = yaml_text.parse(draft(str(table), labels, root=located(".")).text, "the draft")
    return dict(parsed.data)


def _features(features: Any, drafted: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(features, Mapping):
        return {
            str(name): {"kind": section} if isinstance(section, str) else section
            for name, section in features.items()
        }
    chosen: dict[str, Any] = drafted["features"]
    if features is not None:
        columns = {section.get("column", name) for name, section in chosen.items()}
        if left := [str(name) for name in features if str(name) not in columns]:
            fix = f"say what it is: features={{'{left[0]}': 'categorical', …}}"
            raise wrong("not drafted", where=f"{WHERE}: features", found=left[0], fix=fix)
    return chosen


def _tasks(tasks: Any, drafted: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(tasks, Mapping):
        return {
            str(name): {"kind": section} if isinstance(section, str) else section
            for name, section in tasks.items()
        }
    chosen: dict[str, Any] = drafted["tasks"]
    return chosen


def parameters_of(config: Config) -> dict[str, Any]:
    """The arguments that make a model of a config, without the files and the split of its data."""
    document = config.model_dump()
    settings = {key: document[key] for key in _SETTINGS}
    settings["data"] = {k: v for k, v in document["data"].items() if k not in _PLACES}
    return {key: document[key] for key in ("tasks", "features", "seed")} | {"settings": settings}
