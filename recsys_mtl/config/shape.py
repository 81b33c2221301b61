"""The types at a path of the config: its keys, its choices, its default."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from recsys_mtl.config.open_union import OpenUnion
from recsys_mtl.config.section import Section


def options(annotation: Any) -> list[Any]:
    """The types that a value may have, `Annotated`, split at unions, without `None`."""
    if get_origin(annotation) is Annotated:
        return options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [option for member in get_args(annotation) for option in options(member)]
    if isinstance(annotation, type) and issubclass(annotation, OpenUnion) and annotation.is_union():
        return list(dict.fromkeys(annotation.members.values()))
    return [] if annotation is type(None) else [annotation]


def sections(annotation: Any) -> dict[str, type[Section]]:
    """The sections that a value may be, by their tag ("" for a section without one)."""
    by_tag: dict[str, type[Section]] = {}
    for option in options(annotation):
        if isinstance(option, type) and issubclass(option, Section):
            by_tag.update(dict.fromkeys(tags(option) or ("",), option))
    return by_tag


def tags(section: type[Section]) -> tuple[str, ...]:
    """The values of a section's tag; empty without one."""
    field = section.model_fields.get(section.tag)
    return get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()


def tag_key(annotation: Any) -> str:
    """The key that names one of several sections."""
    return next(iter(sections(annotation).values())).tag


def section_of(annotation: Any, value: Any) -> type[Section] | None:
    """The section that `value` means to be, where that is clear."""
    known = sections(annotation)
    if len(known) == 1:
        return next(iter(known.values()))
    if not known or not isinstance(value, Mapping):
        return None
    tag = value.get(tag_key(annotation))
    return known.get(tag) if isinstance(tag, str) else None


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
        tag = {value.tag: getattr(value, value.tag)} if tags(type(value)) else {}
        return tag | value.model_dump(exclude_unset=True)
    return [_plain(item) for item in value] if isinstance(value, list) else value


def entered(annotation: Any, node: Any, key: str | int) -> tuple[Any, Any]:
    """Type and value of a key that has keys itself: a default where it is not given.

    A name that stands for a section is that section.
    """
    section = section_of(annotation, node)
    field = section.model_fields.get(str(key)) if section else None
    kind = inner(annotation) if field is None else field.annotation
    value = node.get(key) if isinstance(node, Mapping) else node[key]
    if value is None and isinstance(node, Mapping):
        value = {} if field is None else default_of(field)
        value = {} if value is None else value
    if isinstance(value, str) and any(known.by_name for known in sections(kind).values()):
        value = {tag_key(kind): value}
    return kind, value


_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Any: "any value",
}


def describe(annotation: Any) -> str:
    """A type in plain words."""
    words = []
    for option in options(annotation):
        if get_origin(option) is Literal:
            choices = [str(choice) for choice in get_args(option)]
            alone = len(choices) > 1 or len(options(annotation)) == 1
            words.append(("one of " if alone else "") + ", ".join(choices))
        elif get_origin(option) is list:
            words.append(f"a list of {describe(inner(option)).removeprefix('a ')}s")
        elif get_origin(option) is dict and get_origin(inner(option)) is list:
            words.append(f"a mapping to {describe(inner(option))}")
        elif get_origin(option) is dict or sections(option):
            by_name = any(section.by_name for section in sections(option).values())
            words.append("a name or a mapping" if by_name else "a mapping")
        else:
            words.append(_WORDS[option])
    return " or ".join(dict.fromkeys(words))
