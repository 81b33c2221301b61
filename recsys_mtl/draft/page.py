"""The drafted YAML: a line a choice, each with a comment that says why."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any, NamedTuple

from recsys_mtl.config.yaml_text import inline
from recsys_mtl.text import one_line

GUIDE = "docs/guide.md"
_UNPRINTABLE = re.compile("[^\t\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|\ufeff")


class Line(NamedTuple):
    """A key, its value and why."""

    key: str
    value: Any
    note: str = ""


def page(
    *,
    name: str,
    command: Sequence[str],
    read: str,
    data: Sequence[Line],
    ignore: Sequence[Line],
    features: Sequence[Line],
    tasks: Sequence[Line],
) -> str:
    """The text of a config.

    Args:
        name: of the run.
        command: what the draft was made of.
        read: which rows were read.
        data: of the section `data`, without what is ignored.
        ignore: columns that are not used.
        features: by name.
        tasks: by name.
    """
    lines = [
        _comment(f"Drafted by `recsys-mtl init {shlex.join(command)}` from {read}."),
        "# Check each line against what you know; above all, that no feature is known only after a",
        "# label. Then: recsys-mtl validate, recsys-mtl train.",
        f"name: {inline(name)}",
        "data:",
        *map(_keyed, data),
    ]
    if ignore:
        lines.append("  ignore:")
        lines += [f"    - {_noted(inline(line.value), line.note)}" for line in ignore]
    lines += ["features:", *map(_keyed, features), "tasks:", *map(_keyed, tasks)]
    lines += [
        "# Left out, as the package decides it by the rows: training.recipe, and with it network,",
        f"# rates, batches and epochs ({GUIDE}#training). Not guessed: only_where and weights",
        f"# ({GUIDE}#labels), sequences and shared tables ({GUIDE}#features).",
    ]
    return "\n".join(lines) + "\n"


def _keyed(line: Line) -> str:
    return f"  {_noted(f'{inline(line.key)}: {inline(line.value)}', line.note)}"


def _noted(text: str, note: str) -> str:
    return f"{text}  {_comment(note)}" if note else text


def _comment(text: str) -> str:
    return "# " + _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], one_line(text))
