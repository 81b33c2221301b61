"""Renamed keys: an old one works, with a warning that names the new one, until it is removed.

The rule for versions is in docs/reference.md. Keys are renamed in what was read, before it is
validated, so that sections have new keys only; configs of saved models are read the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from packaging.version import Version

from recsys_mtl.config.section import Section
from recsys_mtl.config.shape import entered, inner, section_of, sections
from recsys_mtl.config.yaml_text import KeyPath, dotted
from recsys_mtl.errors import Problem
from recsys_mtl.version import NOT_INSTALLED, installed_version

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Renamed:
    """A key with a new name.

    Attributes:
        old: its path in the file; `*` is any name or position of a list.
        new: the path that it has now, with as many `*`.
        since: the version that renamed it.
        removed: the version from which on the old key is an error.
        stored: a value that configs of saved models spell out where it has no effect.
    """

    old: str
    new: str
    since: str
    removed: str
    stored: object = None


RENAMED: Mapping[str, tuple[Renamed, ...]] = {
    "Config": (
        Renamed("features.*.bins", "features.*.transform.bins", "0.1.0", "0.3.0", stored=16),
        Renamed("tasks.*.gamma", "tasks.*.loss.gamma", "0.1.0", "0.3.0", stored=2.0),
        Renamed("tasks.*.alpha", "tasks.*.loss.alpha", "0.1.0", "0.3.0", stored=0.25),
        Renamed("tasks.*.delta", "tasks.*.loss.delta", "0.1.0", "0.3.0", stored=1.0),
    )
}
"""The one table, by the class of the file's root section."""


@dataclass(frozen=True)
class Renaming:
    """What was renamed in a file or by an override.

    Attributes:
        paths: new path by old path.
        problems: old keys that are removed, given twice, or have no new place.
    """

    paths: dict[KeyPath, KeyPath]
    problems: list[Problem]


def rename(
    data: dict[str, Any],
    root: type[Section],
    where: Callable[[KeyPath], str],
    *,
    inside: KeyPath = (),
) -> Renaming:
    """Give old keys of `data` their new names, in place, and warn once for each line of the table.

    Args:
        data: a config as read.
        root: what it shall be.
        where: what messages call a path.
        inside: the path that an override set: only old keys there are renamed, and they replace
            what the new key had.
    """
    renaming = Renaming({}, [])
    for entry in RENAMED.get(root.__name__, ()):
        renamed: list[tuple[KeyPath, KeyPath]] = []
        for old in [*_matches(data, root, entry.old.split("."), inside)]:
            new = _new_path(entry, old)
            value = _at(data, old[:-1]).pop(old[-1], None)
            known = _known(data, root, new)
            given = not inside and _at(data, new) is not None
            if value is None or (value == entry.stored and not known):
                continue
            if problem := _problem(entry, old, new, where, known=known, given=given):
                renaming.problems.append(problem)
                continue
            _put(data, root, new, value)
            renamed.append((old, new))
        renaming.paths.update(renamed)
        if renamed:
            _warn(_line(entry, *renamed[0], where, len(renamed) - 1))
    return renaming


def renamed_override(text: str, root: type[Section]) -> str:
    """`features.*.OLD=value` with the new key; any other override as it is."""
    path, equals, value = text.partition("=")
    for entry in RENAMED.get(root.__name__, ()):
        if entry.old == path.strip() and "*" in entry.old and not _is_removed(entry):
            old, new = (tuple(pattern.split(".")) for pattern in (entry.old, entry.new))
            _warn(_line(entry, old, new, lambda _: f"--set {text}", 0))
            return f"{entry.new}{equals}{value}"
    return text


def _matches(
    node: Any, annotation: Any, pattern: list[str], inside: KeyPath, path: KeyPath = ()
) -> Iterator[KeyPath]:
    """Paths of the old keys that are there, where the section has no key of that name."""
    if not pattern or not isinstance(node, dict | list):
        return
    part, *rest = pattern
    keys: list[Any] = [part] if isinstance(node, dict) else []
    if part == "*":
        keys = [*(node if isinstance(node, dict) else range(len(node)))]
    if inside:
        keys = [inside[0]] if inside[0] in keys else []
    for key in keys:
        if isinstance(node, dict) and key not in node:
            continue
        if rest:
            child, value = entered(annotation, node, key)
            yield from _matches(value, child, rest, inside[1:], (*path, key))
        elif not _has(annotation, node, key):
            yield (*path, key)


def _new_path(entry: Renamed, old: KeyPath) -> KeyPath:
    names = iter(key for key, part in zip(old, entry.old.split("."), strict=True) if part == "*")
    return tuple(next(names) if part == "*" else part for part in entry.new.split("."))


def _has(annotation: Any, node: Any, key: str | int) -> bool:
    """Whether a value may have a key, as far as its type says."""
    section = section_of(annotation, node)
    if section is not None:
        return key in section.model_fields
    return inner(annotation) is not None and not sections(annotation)


def _known(data: Any, root: Any, path: KeyPath) -> bool:
    """Whether the sections that are chosen have a path."""
    node, annotation = data, root
    for key in path[:-1]:
        if not isinstance(node, dict | list) or not _has(annotation, node, key):
            return False
        annotation, node = entered(annotation, node, key)
    return isinstance(node, dict) and _has(annotation, node, path[-1])


def _at(data: Any, path: KeyPath) -> Any:
    """The value at a path; None where there is none."""
    for key in path:
        if isinstance(data, dict):
            data = data.get(key)
        else:
            data = data[key] if isinstance(data, list) and isinstance(key, int) else None
    return data


def _put(data: Any, root: Any, path: KeyPath, value: Any) -> None:
    node, annotation = data, root
    for key in path[:-1]:
        annotation, node[key] = entered(annotation, node, key)
        node = node[key]
    node[path[-1]] = value


def _problem(
    entry: Renamed,
    old: KeyPath,
    new: KeyPath,
    where: Callable[[KeyPath], str],
    *,
    known: bool,
    given: bool,
) -> Problem | None:
    at = f"{where(old)}: {dotted(old)}"
    if _is_removed(entry):
        what = f"unknown key since version {entry.removed}"
        return Problem(what, at, fix=f"write {dotted(new)}")
    if not known:
        fix = f"since version {entry.since} it is {dotted(new)}, which is no key here"
        return Problem("unknown key", at, fix=fix)
    if given:
        what = f"given twice: the key is {dotted(new)} since version {entry.since}"
        return Problem(what, at, fix=f"drop {dotted(old)}")
    return None


def _is_removed(entry: Renamed) -> bool:
    """Not where the version is not known: in a checkout that is not installed."""
    version = installed_version()
    return version != NOT_INSTALLED and Version(version) >= Version(entry.removed)


def _line(
    entry: Renamed, old: KeyPath, new: KeyPath, where: Callable[[KeyPath], str], more: int
) -> str:
    others = f" (and {more} more)" if more else ""
    return (
        f"{where(old)}: {dotted(old)}{others} is called {dotted(new)} since version {entry.since}"
        f" -> rename it; version {entry.removed} ends with an error"
    )


@cache
def _warn(line: str) -> None:
    """Once a process."""
    logger.warning("%s", line)
