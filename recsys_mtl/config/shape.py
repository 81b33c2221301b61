"""What the config's types say about a place in it: its keys, its choices, its default."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from recsys_mtl.config.section import Section


def options(annotation: Any) -> list[Any]:
    """The types that a value may have, `Annotated`, unions and `None` taken apart."""
    if get_origin(annotation) is Annotated:
        return options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [option for member in get_args(annotation) for option in options(member)]
    return [] if annotation is type(None) else [annotation]


def sections(annotation: Any) -> dict[str, type[Section]]:
    """The sections that a value may be, by their `kind` ("" for a section without one)."""
    found: dict[str, type[Section]] = {}
    for option in options(annotation):
        if isinstance(option, type) and issubclass(option, Section):
            kind = option.model_fields.get("kind")
            tags = get_args(kind.annotation) if kind else ("",)
            found.update(dict.fromkeys(tags, option))
    return found


def section_of(annotation: Any, value: Any) -> type[Section] | None:
    """The section that `value` means to be, where that is clear."""
    known = sections(annotation)
    if len(known) == 1:
        return next(iter(known.values()))
    kind = value.get("kind") if isinstance(value, Mapping) else None
    return known.get(kind) if isinstance(kind, str) else None


def inner(annotation: Any) -> Any:
    """Type of a list's entries or of a mapping's values; None where it is neither."""
    for option in options(annotation):
        if get_origin(option) in (list, dict):
            return get_args(option)[-1]
    return None


def default_of(field: FieldInfo) -> Any:
    """A field's default as plain YAML values, holding no more than was written for it."""
    if field.is_required():
        return None
    return _plain(field.get_default(call_default_factory=True, validated_data={}))


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        kind = {"kind": value.kind} if "kind" in type(value).model_fields else {}  # type: ignore[attr-defined]
        return kind | value.model_dump(exclude_unset=True)
    return [_plain(item) for item in value] if isinstance(value, list) else value


_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def describe(annotation: Any) -> str:
    """A type in plain words."""
    words = []
    for option in options(annotation):
        if get_origin(option) is Literal:
            words.append("one of " + ", ".join(str(choice) for choice in get_args(option)))
        elif get_origin(option) is list:
            words.append(f"a list of {describe(inner(option)).removeprefix('a ')}s")
        elif get_origin(option) is dict and get_origin(inner(option)) is list:
            words.append(f"a mapping to {describe(inner(option))}")
        elif get_origin(option) is dict or sections(option):
            words.append("a mapping")
        else:
            words.append(_WORDS[option])
    return " or ".join(dict.fromkeys(words))
