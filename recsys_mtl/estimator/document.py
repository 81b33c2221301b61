"""From what `MultiTaskModel` was given to the config of a run."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys_mtl.columns.facts import facts_of
from recsys_mtl.config import Config, config_from_mapping, yaml_text
from recsys_mtl.config.schema import Config as Schema
from recsys_mtl.draft import draft
from recsys_mtl.errors import did_you_mean, wrong
from recsys_mtl.storage.location import located
from recsys_mtl.tasks import KINDS
from recsys_mtl.tasks.draft import drafted_task

log = logging.getLogger(__name__)

WHERE = "MultiTaskModel"
WEIGHT = "sample_weight"
_DRAFTED = ("binary", "multiclass", "regression")
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
    if not isinstance(tasks, Mapping):
        tasks = [*tasks] if isinstance(tasks, Iterable) else []
    if not tasks:
        expected = "tasks={'click': 'binary'}, or the label columns: tasks=['click', 'churn']"
        raise wrong("no tasks", where=WHERE, expected=expected)
    if not isinstance(tasks, Mapping):
        return {str(name): str(name) for name in tasks}
    return {
        str(name): str(task.get("label") or name) if isinstance(task, Mapping) else str(name)
        for name, task in tasks.items()
    }


def data_of(settings: Any) -> dict[str, Any]:
    """What the settings say of the data.

    Raises:
        UserError: the settings are no sections, or the data are none.
    """
    sections = {} if settings is None else settings
    data = sections.get("data", {}) if isinstance(sections, Mapping) else None
    if not isinstance(data, Mapping):
        expected = "settings={'data': {'weight': 'importance'}, 'training': {'epochs': 3}}"
        found = repr(settings)[:60]
        raise wrong("no sections", where=f"{WHERE}: settings", expected=expected, found=found)
    return dict(data)


def require_one_weight(named: str | None, *, weighted: bool, columns: Sequence[str]) -> None:
    """Refuse weights that are missing or given twice.

    Args:
        named: `data.weight` of the settings.
        weighted: whether there is a sample_weight, which becomes the column `WEIGHT`.
        columns: of the rows.

    Raises:
        UserError: there are two weights, or none although the settings name those of a fit.
    """
    if weighted and named not in (None, WEIGHT):
        found = f"sample_weight and settings: data.weight: {named}"
        raise wrong("two weights", where=WHERE, found=found, fix="leave one of them out")
    if weighted and WEIGHT in columns:
        fix = f"rename the column, or name it in settings: data.weight: {WEIGHT}"
        raise wrong(f"a column '{WEIGHT}' and sample_weight", where=WHERE, fix=fix)
    if named == WEIGHT and not weighted and WEIGHT not in columns:
        fix = f"give sample_weight, or leave data.weight: {WEIGHT} out of the settings"
        raise wrong("no row weights", where=WHERE, expected="sample_weight", fix=fix)


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
) -> tuple[Config, list[str]]:
    """The config of a run on rows that are files in a folder, and what its draft guessed.

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
    document = dict(settings or {})
    for key in document:
        if key not in _SETTINGS:
            fix = did_you_mean(str(key), _SETTINGS)
            raise wrong("unknown section", where=f"{WHERE}: settings", found=str(key), fix=fix)
    data: dict[str, Any] = {"split": split, "ignore": ["*"]} | data_of(settings)
    data |= {"path": "train.parquet", "root": str(folder)}
    data |= {"weight": WEIGHT} if weighted else {}
    notes: list[str] = []
    chosen = _tasks(tasks, rows, notes)
    weights = [name for name in (data.get("weight"),) if name in rows.columns]
    own = data["split"] if isinstance(data["split"], Mapping) else {}
    sections = _features(tasks, chosen, features, rows.drop(weights), folder, own, notes)
    config = config_from_mapping(
        _plain(
            {"tracking": {"enabled": False}}
            | document
            | {"name": "model", "seed": seed, "data": data}
            | {"features": sections, "tasks": chosen}
        ),
        where=WHERE,
    )
    for note in notes:
        log.warning("%s", note)
    return config, notes


def _tasks(tasks: Any, rows: pl.DataFrame, notes: list[str]) -> dict[str, Any]:
    """Sections of the tasks; those of label columns are drafted, with notes of what is guessed.

    Raises:
        UserError: no such column, or it cannot be a label.
    """
    if isinstance(tasks, Mapping):
        return _sections(tasks)
    sections = {}
    for name in labels_of(tasks):
        _require(name, rows, f"{WHERE}: tasks")
        drafted = drafted_task(facts_of(rows[name]))
        sections[name] = drafted.section
        if drafted.guessed:
            fix = f"say tasks={{'{name}': {{'kind': 'binary', 'positive': …}}}}"
            one = drafted.positives[0]
            notes.append(f"task '{name}': '{one}' counts as 1, the rarer value -> {fix}")
    return sections


def _features(
    tasks: Any,
    chosen: Mapping[str, Any],
    features: Any,
    rows: pl.DataFrame,
    folder: Path,
    split: Mapping[str, Any],
    notes: list[str],
) -> dict[str, Any]:
    """Sections of the features; where none are given, a draft has them, with notes of the others.

    Raises:
        UserError: no such column, or it cannot be drafted.
    """
    if isinstance(features, Mapping):
        return _sections(features)
    features = [features] if isinstance(features, str) else features
    if not isinstance(features, Iterable | None):
        expected = "columns, or features={'age': 'numeric', …}"
        found = type(features).__name__
        raise wrong("no columns", where=f"{WHERE}: features", expected=expected, found=found)
    labels = labels_of(tasks)
    for name in labels.values():
        _require(name, rows, f"{WHERE}: tasks")
    # Other labels are no features either, and a draft knows nothing of them
    kinds = {
        name: section.get("kind")
        if isinstance(section, Mapping)
        else getattr(section, "kind", None)
        for name, section in chosen.items()
    }
    if not all(kind in [*KINDS] for kind in kinds.values()):
        return _sections(as_numbers(["x0"]))  # the config says what is wrong with the tasks
    known = [c for name, c in labels.items() if kinds[name] in _DRAFTED]
    wanted = [*rows.columns] if features is None else [*map(str, features)]
    for name in wanted:
        _require(name, rows, f"{WHERE}: features")
    columns = dict.fromkeys([*(c for c in wanted if c not in labels.values()), *known])
    if not known:
        fix = "say what they are: features={'age': 'numeric', …}"
        raise wrong("features cannot be drafted for such tasks", where=WHERE, fix=fix)
    table = folder / "chosen.parquet"
    rows[[*columns]].write_parquet(table)  # `select` takes a name such as ^a.*$ for a pattern
    drafted = draft(str(table), known, root=located("."), by_time=split.get("kind") == "time")
    document = yaml_text.parse(drafted.text, "the draft").data
    sections: dict[str, Any] = document["features"]
    if features is not None:
        there = {section.get("column", name) for name, section in sections.items()}
        if left := [name for name in wanted if name not in there]:
            fix = f"say what it is: features={{'{left[0]}': 'categorical', …}}"
            raise wrong("not drafted", where=f"{WHERE}: features", found=left[0], fix=fix)
    timed = document["data"]["split"].get("column", split.get("column"))
    others = drafted.ignored | ({} if timed == split.get("column") else {timed: "the time of rows"})
    notes += [f"column '{name}' is left out: {why}" for name, why in others.items()]
    return sections


def as_numbers(columns: Sequence[str]) -> dict[str, str]:
    """Features of an array without names."""
    return dict.fromkeys(columns, "numeric")


def _sections(given: Mapping[str, Any]) -> dict[str, Any]:
    """A kind alone is a section too."""
    return {
        str(name): {"kind": section} if isinstance(section, str) else section
        for name, section in given.items()
    }


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's: a search draws its settings from arrays."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _require(name: str, rows: pl.DataFrame, where: str) -> None:
    if name not in rows.columns:
        fix = did_you_mean(name, rows.columns)
        raise wrong("no such column", where=where, found=name, fix=fix)


def parameters_of(config: Config, *, tracking: bool) -> dict[str, Any]:
    """The arguments that make a model of a config, without the files and the split of its data.

    Args:
        config: of a run.
        tracking: whether its tracking counts; a model is not tracked otherwise.
    """
    document = config.model_dump()
    settings = {key: document[key] for key in _SETTINGS if tracking or key != "tracking"}
    settings["data"] = {k: v for k, v in document["data"].items() if k not in _PLACES}
    return {key: document[key] for key in ("tasks", "features", "seed")} | {"settings": settings}
