"""From YAML to a valid `Config` (or another root section), or to all problems at once."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from recsys_mtl.config import yaml_text
from recsys_mtl.config.check import contradictions
from recsys_mtl.config.explain import Finding, explain, show
from recsys_mtl.config.override import Override, apply, spread
from recsys_mtl.config.renamed import rename
from recsys_mtl.config.schema import Config
from recsys_mtl.config.section import Section
from recsys_mtl.errors import Problem, UserError, did_you_mean, wrong
from recsys_mtl.storage.location import Location, located

Root = TypeVar("Root", bound=Section)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a config file.

    Args:
        path: the YAML file, or its URI.
        overrides: `a.b=c` assignments, applied in their order before validation.

    Raises:
        UserError: every problem of the file and of the overrides, in the order of the schema;
            contradictions between sections are looked for once each section is valid.

    Example:
        >>> from recsys_mtl.config import load_config
        >>> config = load_config("visits.yaml", ["training.epochs=2"])
        >>> config.name, config.training.epochs, sorted(config.tasks)
        ('visits', 2, ['churn', 'click', 'conversion', 'value'])
    """
    file = located(path)
    return config_from_yaml(read_text(file), where=str(file), overrides=overrides)


def config_from_yaml(text: str, *, where: str, overrides: Sequence[str] = ()) -> Config:
    """`load_config` for a text (a stored effective config); `where` names it."""
    return section_from_yaml(Config, text, where=where, overrides=overrides, check=contradictions)


def section_from_yaml(
    root: type[Root],
    text: str,
    *,
    where: str,
    check: Callable[[Root], Iterable[Finding]],
    overrides: Sequence[str] = (),
    base: Mapping[str, Any] | None = None,
) -> Root:
    """Read a text as one section.

    Args:
        root: what it shall be.
        text: YAML.
        where: its name, for messages.
        check: finds contradictions, once every key is valid.
        overrides: `a.b=c` assignments, applied in their order before validation.
        base: what the text changes: mappings are merged key by key, unless their `kind` differs.

    Raises:
        UserError: every problem of the text and of the overrides, in the order of the schema.
    """
    document = yaml_text.parse(text, where)
    return _section(root, document, where, check, overrides, base)


def config_from_mapping(
    data: Mapping[str, Any], *, where: str, overrides: Sequence[str] = ()
) -> Config:
    """`load_config` for what a YAML file would hold, such as a dict; `where` names it.

    Example:
        >>> from recsys_mtl.config import config_from_mapping
        >>> shop = {
        ...     "name": "shop",
        ...     "data": {"path": "rows.parquet"},
        ...     "features": {"age": {"kind": "numeric"}},
        ...     "tasks": {"churn": {"kind": "binary", "weight": 2}},
        ... }
        >>> config_from_mapping(shop, where="shop").tasks["churn"].weight
        2.0
        >>> config_from_mapping(shop | {"trainig": {}}, where="shop")
        Traceback (most recent call last):
        recsys_mtl.errors.UserError: shop: trainig: unknown key -> did you mean 'training'?
    """
    document = yaml_text.Document(copy.deepcopy(dict(data)))
    return _section(Config, document, where, contradictions, overrides)


def _section(
    root: type[Root],
    document: yaml_text.Document,
    where: str,
    check: Callable[[Root], Iterable[Finding]],
    overrides: Sequence[str] = (),
    base: Mapping[str, Any] | None = None,
) -> Root:
    """The section that a document holds; see `section_from_yaml`."""
    if not isinstance(document.data, dict):
        raise wrong(
            "not a config", where=where, expected="keys and values", found=show(document.data)
        )
    problems = document.problems
    renaming = rename(document.data, root, partial(_source, document, where))
    document.lines |= {
        new: document.lines[old] for old, new in renaming.paths.items() if old in document.lines
    }
    problems.extend(renaming.problems)
    data = merged(base, document.data) if base else document.data
    applied: list[Override] = []
    for override in overrides:
        try:
            for each in spread(data, override, root):
                applied.append(_applied(data, each, root, problems))
        except UserError as error:
            problems.extend(error.problems)
    findings: Iterable[Finding]
    try:
        section = root.model_validate(data)
        findings = check(section)
    except ValidationError as error:
        findings = explain(error, root)
    problems.extend(_problem(finding, document, where, applied) for finding in findings)
    if problems:
        raise UserError(*problems)
    return section


def _applied(
    data: dict[str, Any], text: str, root: type[Section], problems: list[Problem]
) -> Override:
    """Put an override into `data`, an old key under its new name."""
    override = apply(data, text, root)
    renaming = rename(data, root, lambda _: override.where, inside=override.path)
    problems.extend(renaming.problems)
    return replace(override, path=renaming.paths.get(override.path, override.path))


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `change`, mappings key by key unless their `kind` differs."""
    result = copy.deepcopy(dict(base))
    for key, value in change.items():
        old = result.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            same = value.get("kind", old.get("kind")) == old.get("kind")
            value = merged(old, value) if same else value
        result[key] = value
    return result


def dump_config(config: Config) -> str:
    """The effective config, every default filled in, as YAML that loads back equal."""
    return yaml_text.dump(config.model_dump())


def config_hash(config: Config) -> str:
    """Sixteen hexadecimal digits, the same for equal configs whatever the order of their keys."""
    text = json.dumps(config.model_dump(), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_text(path: Location) -> str:
    """The text of a YAML file.

    Raises:
        UserError: no such file, or not readable as text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        siblings = [str(file) for file in path.parent.glob("*.yaml")]
        fix = did_you_mean(str(path), siblings)
        raise wrong("no such config file", where=str(path), fix=fix) from error
    except UnicodeDecodeError as error:
        raise wrong("not a text file", where=str(path), expected="YAML in UTF-8") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise wrong("cannot read the config", where=str(path), found=reason) from error


def _source(document: yaml_text.Document, where: str, path: yaml_text.KeyPath) -> str:
    """Where a path of the document is, with its line if that is known."""
    line = document.line(path)
    return where if line is None else f"{where}:{line}"


def _problem(
    finding: Finding, document: yaml_text.Document, where: str, overrides: Sequence[Override]
) -> Problem:
    """Give a finding its file and line, or the override that it comes from."""
    path = finding.path
    source = _source(document, where, path)
    for override in overrides:
        inside = path[: len(override.path)] == override.path
        on_the_way = override.path[: len(path)] == path and path not in document.lines
        if inside or on_the_way:
            source = override.where
    return Problem(
        finding.what,
        f"{source}: {yaml_text.dotted(path)}",
        finding.expected,
        finding.found,
        finding.fix,
    )
