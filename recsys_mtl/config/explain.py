"""Pydantic's findings in plain words, each at the path that the user wrote."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError

from recsys_mtl.config.section import Section
from recsys_mtl.config.shape import describe, inner, options, sections, tag_key
from recsys_mtl.config.yaml_text import KeyPath
from recsys_mtl.errors import did_you_mean


@dataclass(frozen=True)
class Finding:
    """A problem at a path of the config, before file and line are known."""

    path: KeyPath
    what: str
    expected: str = ""
    found: str = ""
    fix: str = ""


def show(value: object) -> str:
    """A value for a message: JSON, truncated."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True)
class _Location:
    """A location of pydantic: our path, the type there, the section around it."""

    path: KeyPath
    annotation: Any
    section: type[Section]


def _locate(location: KeyPath, root: type[Section]) -> _Location:
    """Follow pydantic's location, leaving out the names of union members that it holds."""
    path: KeyPath = ()
    annotation: Any = root
    section = root
    for part in location:
        known = sections(annotation)
        if part == "[key]":  # it is the key before that is wrong
            return _Location((*path[:-1], str(path[-1])), str, section)
        if len(known) > 1 and part in known:  # the tag of a union of sections
            annotation = known[str(part)]
        elif known:
            section = next(iter(known.values()))
            field = section.model_fields.get(str(part))
            path, annotation = (*path, part), field.annotation if field else None
        elif len(options(annotation)) > 1:
            break  # the rest names a member of a union of plain types
        else:
            path, annotation = (*path, part), inner(annotation)
    return _Location(path, annotation, section)


def _unknown_key(located: _Location, value: Any, limits: dict[str, Any]) -> Finding:
    fix = did_you_mean(str(located.path[-1]), located.section.model_fields)
    return Finding(located.path, "unknown key", fix=fix)


def _missing_key(located: _Location, value: Any, limits: dict[str, Any]) -> Finding:
    return Finding(located.path, "missing key", expected=describe(located.annotation))


def _missing_tag(located: _Location, value: Any, limits: dict[str, Any]) -> Finding:
    if not isinstance(value, Mapping):
        return _wrong_type(located, value, limits)
    expected = "one of " + ", ".join(sections(located.annotation))
    return Finding((*located.path, tag_key(located.annotation)), "missing key", expected=expected)


def _unknown_tag(located: _Location, value: Any, limits: dict[str, Any]) -> Finding:
    known, path = sections(located.annotation), located.path
    if isinstance(value, Mapping):
        key = tag_key(located.annotation)
        path, value = (*path, key), value[key]
    return Finding(
        path,
        "unknown choice",
        expected="one of " + ", ".join(known),
        found=show(value),
        fix=did_you_mean(str(value), known),
    )


def _unknown_choice(located: _Location, value: Any, limits: dict[str, Any]) -> Finding:
    if isinstance(value, list | dict):
        return _wrong_type(located, value, limits)
    known = [o for o in options(located.annotation) if get_origin(o) is Literal]
    choices = [str(choice) for literal in known for choice in get_args(literal)]
    fix = did_you_mean(value, choices) if isinstance(value, str) else ""
    return Finding(located.path, "unknown choice", describe(located.annotation), show(value), fix)


def _wrong_name(located: _Location, value: Any, limits: dict[str, Any]) -> Finding:
    expected = "a letter or _, then letters, digits, '_', '.' or '-'"
    return Finding(located.path, "not a valid name", expected, show(value))


def _contradiction(located: _Location, value: Any, limits: dict[str, Any]) -> Finding:
    return Finding(located.path, str(limits["error"]))


def _out_of_range(expected: str) -> Callable[[_Location, Any, dict[str, Any]], Finding]:
    def translate(located: _Location, value: Any, limits: dict[str, Any]) -> Finding:
        bound = expected.format_map(limits)
        return Finding(located.path, "value out of range", bound, show(value))

    return translate


def _wrong_type(located: _Location, value: Any, limits: dict[str, Any]) -> Finding:
    return Finding(located.path, "wrong type", describe(located.annotation), show(value))


_TRANSLATIONS: dict[str, Callable[[_Location, Any, dict[str, Any]], Finding]] = {
    "extra_forbidden": _unknown_key,
    "invalid_key": _unknown_key,
    "missing": _missing_key,
    "union_tag_not_found": _missing_tag,
    "union_tag_invalid": _unknown_tag,
    "literal_error": _unknown_choice,
    "string_pattern_mismatch": _wrong_name,
    "value_error": _contradiction,
    "greater_than": _out_of_range("more than {gt}"),
    "greater_than_equal": _out_of_range("at least {ge}"),
    "less_than": _out_of_range("less than {lt}"),
    "less_than_equal": _out_of_range("at most {le}"),
    "too_short": _out_of_range("{min_length} or more entries"),
    "finite_number": _out_of_range("a finite number"),
}


def explain(error: ValidationError, root: type[Section]) -> list[Finding]:
    """Every problem that pydantic reports for a `root`, once, in the order of the schema.

    A value that fits no member of a union of plain types (text or a list) is one problem, though
    pydantic reports one for each member.
    """
    findings: dict[tuple[KeyPath, str], Finding] = {}
    for detail in error.errors(include_url=False):
        located = _locate(detail["loc"], root)
        translate = _TRANSLATIONS.get(detail["type"], _wrong_type)
        finding = translate(located, detail["input"], detail.get("ctx", {}))
        one = len(options(located.annotation)) > 1 and not sections(located.annotation)
        findings.setdefault((finding.path, "" if one else finding.what), finding)
    return list(findings.values())
