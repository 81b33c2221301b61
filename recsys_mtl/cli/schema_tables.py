"""The keys of a config or a plan as Markdown tables for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args

from pydantic.fields import FieldInfo

from recsys_mtl.config.schema import Config
from recsys_mtl.config.section import Section
from recsys_mtl.config.shape import default_of, describe, inner, sections, tag_key, tags

_BOUNDS = {
    "gt": "above {}",
    "ge": "at least {}",
    "lt": "below {}",
    "le": "at most {}",
    "min_length": "at least {} of them",
}


def tables(root: type[Section] = Config) -> str:
    """Every key of `root` with its type, default and meaning: a table a section and tag."""
    paths_of: dict[type[Section], list[str]] = {}
    _visit(root, "", paths_of)
    return "\n\n".join(_table(section, paths) for section, paths in paths_of.items())


def _visit(section: type[Section], path: str, paths_of: dict[type[Section], list[str]]) -> None:
    """Note every section below, in the order of the schema, with the paths that lead to it."""
    known = section in paths_of
    paths_of.setdefault(section, []).append(path)
    for name, field in () if known else section.model_fields.items():
        for child in _below(field).values():
            _visit(child, f"{path}.{_step(name, field)}".lstrip("."), paths_of)


def _below(field: FieldInfo) -> dict[str, type[Section]]:
    """The sections that a key holds, directly, in a list or in a mapping, by tag."""
    return sections(_holder(field))


def _holder(field: FieldInfo) -> Any:
    """The type that names the sections: the key's own, or that of its entries."""
    return field.annotation if sections(field.annotation) else inner(field.annotation)


def _step(name: str, field: FieldInfo) -> str:
    if sections(field.annotation):
        return name
    return f"{name}.N" if str(field.annotation).startswith("list") else f"{name}.NAME"


def _table(section: type[Section], paths: list[str]) -> str:
    names = " or ".join(f"`{name}`" for name in tags(section))
    title = " and ".join(f"`{path}`" for path in dict.fromkeys(paths) if path) or "Top level"
    title += f", {section.tag} {names}" if names else ""
    fields = section.model_fields.items()
    rows = [_row(n, f) for n, f in fields if not (names and n == section.tag)]
    head = ["", "| key | type | default | meaning |", "|---|---|---|---|"] if rows else []
    return "\n".join([f"### {title}", "", f"{_summary(section)}.", *head, *rows])


def _row(name: str, field: FieldInfo) -> str:
    below = _below(field)
    one = _summary(*below.values()) if len(below) == 1 else ""
    if len(below) > 1:
        one = f"of {tag_key(_holder(field))} " + ", ".join(f"`{name}`" for name in below)
    cells = (f"`{name}`", ", ".join(_type(field)), _default(field), field.description or one)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _type(field: FieldInfo) -> Iterator[str]:
    """A key's type in plain words, then what bounds its values."""
    yield describe(field.annotation)
    parts = get_args(field.annotation)
    limits = [*field.metadata, *(m for part in parts for m in getattr(part, "__metadata__", ()))]
    if type(None) in parts:  # else they are bounds of a list's entries
        limits = [limit for m in limits for limit in getattr(m, "metadata", (m,))]
    for limit in limits:
        for name, words in _BOUNDS.items():
            if (bound := getattr(limit, name, None)) is not None:
                yield words.format(int(bound) if bound == int(bound) else bound)
    if type(None) in parts:
        yield "or null"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = default_of(field)
    if default == {} and sections(field.annotation):
        return "its keys' defaults"
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def _summary(section: type[Section]) -> str:
    """A section's docstring in one line."""
    return " ".join((section.__doc__ or "").split()).rstrip(".")
