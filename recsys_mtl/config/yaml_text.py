"""YAML as configs use it: the YAML 1.2 core types, no duplicate keys, known lines.

PyYAML speaks YAML 1.1, where `no` is a boolean, `2024-05-01` a date, `12:30` a number and `1e-3`
a text. Here true/false, null, and decimal numbers are read as such and all else is text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from recsys_mtl.config.yaml_events import check_characters, check_events
from recsys_mtl.errors import Problem, UserError

try:  # in C, some ten times as fast
    from yaml import CSafeDumper as SafeDumper
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML was built without libyaml; its wheels have it
    from yaml import SafeDumper, SafeLoader  # type: ignore[assignment]

KeyPath = tuple[str | int, ...]

_CORE_TYPES = (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    (
        "float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+0123456789.",
    ),
    ("merge", r"^<<$", "<"),
)


_PATTERNS = {name: re.compile(pattern) for name, pattern, _ in _CORE_TYPES if name != "merge"}
_LONGEST_INT = 1_000


class _Loader(SafeLoader):
    """The safe loader with the core types of YAML 1.2."""


class _Dumper(SafeDumper):
    """Quotes every text that either version of YAML would read as something else."""


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    digits = loader.construct_scalar(node)
    if len(digits) > _LONGEST_INT:
        problem = f"a whole number of {len(digits):,} digits"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
    return int(digits)


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """Only double quotes keep line separators and the like as they are."""
    style = None if text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Loader.yaml_implicit_resolvers = {}
for _name, _pattern, _first in _CORE_TYPES:
    _tag = f"tag:yaml.org,2002:{_name}"
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))
    _Dumper.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Dumper.add_representer(str, _represent_text)


@dataclass
class Document:
    """A YAML text that was read.

    Attributes:
        data: the value.
        lines: line number (from 1) of every key and list entry.
        problems: duplicate keys; their last value is in `data`.
    """

    data: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: KeyPath) -> int | None:
        """Line of `path`, or of the nearest thing above it."""
        return next(
            (self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), None
        )


def parse(text: str, where: str) -> Document:
    """Read one YAML document.

    Args:
        text: the YAML.
        where: what to call it in messages.

    Raises:
        UserError: the text is not YAML.
    """
    loader = None
    try:
        check_characters(text)
        check_events(yaml.parse(text, Loader=_Loader), _PATTERNS)
        loader = _Loader(text)
        node = loader.get_single_node()
        document = Document()
        if node is not None:
            _note_lines(node, (), document, where)
            document.data = loader.construct_document(node)
        return document
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        location = f"{where}:{mark.line + 1}" if mark and "\n" in text else where
        problem = _explained(error, text)
        raise UserError(Problem(f"not valid YAML: {problem}", location)) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(Problem(f"not valid YAML: {error}", where)) from error
    finally:
        if loader is not None:
            loader.dispose()


def _explained(error: yaml.MarkedYAMLError, text: str) -> str:
    """What is wrong; PyYAML's own words do not name a tab."""
    mark = error.problem_mark
    lines = text.split("\n")
    if mark and re.match(r"\s*\t", "".join(lines[mark.line : mark.line + 1])):
        return "a tab in front of a line: indent with spaces"
    return error.problem or "a syntax error"


def dump(data: Any) -> str:
    """`data` as YAML that `parse` reads back equal, keys in their order."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def inline(data: Any) -> str:
    """`data` as YAML in one line that `parse` reads back equal."""
    options: dict[str, Any] = {"default_flow_style": True, "sort_keys": False, "width": 1 << 30}
    text: str = yaml.dump(data, Dumper=_Dumper, allow_unicode=True, **options)
    return text.removesuffix("\n...\n").removesuffix("\n")


def _note_lines(node: yaml.Node, path: KeyPath, document: Document, where: str) -> None:
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            document.lines[(*path, index)] = item.start_mark.line + 1
            _note_lines(item, (*path, index), document, where)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # construct_document refuses what cannot be a key
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                document.problems.append(
                    Problem(
                        "duplicate key",
                        f"{where}:{line}: {dotted((*path, name))}",
                        found=f"the same key in line {seen[name]}",
                        fix="keep one of them",
                    )
                )
            seen[name] = line
            document.lines[(*path, name)] = line
            _note_lines(value, (*path, name), document, where)


def dotted(path: KeyPath) -> str:
    """`("model", "shared_experts", 0)` as `model.shared_experts.0`."""
    return ".".join(str(part) for part in path)
