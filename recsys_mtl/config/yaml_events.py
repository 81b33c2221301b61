"""What a YAML text may not hold, found in its events before any value is made of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

DEEPEST = 100
"""Levels of nested mappings and lists."""
MOST_ALIASED = 100_000
"""Values that all aliases of a text stand for together."""
_PLAIN = ("str", "map", "seq")  # tags that change nothing, or force a text
_CORE = "tag:yaml.org,2002:"
_UNREADABLE = re.compile(
    "[^\x09\x0a\x0d\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)


def check_characters(text: str) -> None:
    """Raise a `yaml.MarkedYAMLError` for a character that YAML does not allow."""
    match = _UNREADABLE.search(text)
    if match is not None:
        line = text.count("\n", 0, match.start())
        mark = yaml.Mark("", match.start(), line, 0, None, 0)
        raise _error(f"a control character (U+{ord(match[0]):04X})", mark)


def check_events(events: Iterable[yaml.Event], patterns: dict[str, re.Pattern[str]]) -> None:
    """Raise a `yaml.MarkedYAMLError` for nesting, aliases or tags that are out of bounds.

    Args:
        events: of the text.
        patterns: of the scalars that a tag of YAML's core types may be written before, by type.
    """
    open_nodes: list[_Node] = []
    sizes: dict[str, int] = {}
    aliased = 0
    for event in events:
        size = 1
        if isinstance(event, yaml.CollectionEndEvent):
            node = open_nodes.pop()
            size = node.size
            if node.anchor is not None:
                sizes[node.anchor] = size
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in (node.anchor for node in open_nodes):
                raise _error(f"alias *{event.anchor} inside of its own anchor", event.start_mark)
            size = sizes.get(str(event.anchor), 1)
            aliased += size
            if aliased > MOST_ALIASED:
                what = f"aliases that stand for more than {MOST_ALIASED:,} values"
                raise _error(what, event.start_mark)
        elif isinstance(event, yaml.NodeEvent):
            _check_tag(event, patterns)
            if isinstance(event, yaml.CollectionStartEvent):
                open_nodes.append(_Node(event.anchor))
                if len(open_nodes) > DEEPEST:
                    what = f"more than {DEEPEST} levels of nested mappings and lists"
                    raise _error(what, event.start_mark)
                continue
            if event.anchor is not None:
                sizes[event.anchor] = 1
        else:
            continue
        if open_nodes:
            open_nodes[-1].size += size


class _Node:
    """A mapping or list that is not closed yet, and how many values it holds so far."""

    def __init__(self, anchor: str | None) -> None:
        self.anchor = anchor
        self.size = 1


def _check_tag(event: yaml.NodeEvent, patterns: dict[str, re.Pattern[str]]) -> None:
    tag = getattr(event, "tag", None)
    if tag is None or tag == "!":
        return
    name = tag.removeprefix(_CORE)
    if name in _PLAIN:
        return
    shown = f"!!{name}" if tag.startswith(_CORE) else tag
    if name not in patterns:
        raise _error(f"the tag {shown}, which means nothing here: leave it out", event.start_mark)
    value = getattr(event, "value", "")
    if not patterns[name].match(value):
        raise _error(f"the tag {shown} before what is none: {value[:40]!r}", event.start_mark)


def _error(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
