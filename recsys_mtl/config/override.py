"""`--set a.b=c`: values from the command line, put into a config before it is validated."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from recsys_mtl.config.renamed import renamed_override
from recsys_mtl.config.section import Section
from recsys_mtl.config.shape import entered, inner, section_of
from recsys_mtl.config.yaml_text import KeyPath, dotted, parse
from recsys_mtl.errors import UserError, wrong


@dataclass(frozen=True)
class Override:
    """One `--set`, applied: what was written and the path that it set."""

    text: str
    path: KeyPath

    @property
    def where(self) -> str:
        """What messages call it."""
        return f"--set {self.text}"


def spread(data: dict[str, Any], text: str, root: type[Section]) -> list[str]:
    """`features.*.dim=4` for each feature that has the key; any other override as it is.

    Raises:
        UserError: no entry of the section has the key.
    """
    text = renamed_override(text, root)
    section, star, rest = text.partition(".*.")
    field = root.model_fields.get(section.strip())
    entries = data.get(section.strip())
    if not star or field is None or not isinstance(entries, dict) or "*" in entries:
        return [text]
    key = re.split(r"[.=]", rest)[0].strip()
    kinds = {name: section_of(inner(field.annotation), entry) for name, entry in entries.items()}
    having = [name for name, kind in kinds.items() if kind and key in kind.model_fields]
    if not having:
        raise wrong(f"a key that none of {section.strip()} has", where=f"--set {text}", found=key)
    return [f"{section}.{name}.{rest}" for name in having]


def apply(data: dict[str, Any], text: str, root: type[Section]) -> Override:
    """Set one value in `data`, in place.

    Paths go through sections, mappings with free names (`features.age.transform`; names may hold
    dots) and list positions (`model.shared_experts.0.count`). What the file leaves out on the way
    starts from its default. Unknown keys are set too: validation reports them.

    Args:
        data: the config as read.
        text: `path=value`; the value is YAML, nothing means null.
        root: what `data` shall be.

    Raises:
        UserError: no `=`, a value that is not YAML, a path through something without keys, or a
            position that a list does not have.
    """
    where = f"--set {text}"
    name, equals, value = text.partition("=")
    parts = name.strip().split(".")
    if not equals or not all(parts):
        raise wrong(
            "not an override", where=where, expected="PATH=VALUE, such as training.epochs=3"
        )
    document = parse(value, where)
    if document.problems:
        raise UserError(*document.problems)
    path: KeyPath = ()
    node: Any = data
    annotation: Any = root
    while parts:
        key = _next_key(node, parts, where=where, path=path)
        path = (*path, key)
        if not parts:
            node[key] = document.data
        else:
            annotation, node[key] = entered(annotation, node, key)
            node = node[key]
    return Override(text, path)


def value_at(data: dict[str, Any], text: str) -> Any:
    """The value at a path such as `model.shared_experts.0.count`.

    Raises:
        UserError: there is none.
    """
    parts = text.split(".")
    path: KeyPath = ()
    node: Any = data
    while parts:
        key = _next_key(node, parts, where=text, path=path)
        if isinstance(node, dict) and key not in node:
            raise wrong("no such key", where=text, found=key)
        path, node = (*path, key), node[key]
    return node


def _next_key(node: Any, parts: list[str], *, where: str, path: KeyPath) -> str | int:
    """Take the next key of `node` off `parts`."""
    if isinstance(node, dict):
        names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
        name = next((name for name in names if name in node), parts[0])
        del parts[: name.count(".") + 1]
        return name
    location = f"{where}: {dotted(path)}"
    part = parts.pop(0)
    if not isinstance(node, list):
        raise wrong("has no keys", where=location, expected="a section or list", found=node)
    if not part.isdecimal() or int(part) >= len(node):
        expected = f"0 to {len(node) - 1}" if node else "no position, the list is empty"
        raise wrong("no such list position", where=location, expected=expected, found=part)
    return int(part)
