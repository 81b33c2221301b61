"""What MLflow accepts: the characters and length of names, the length of values, batch sizes."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

PARAMS_PER_REQUEST = 100
METRICS_PER_REQUEST = 1000
KEY_LENGTH = 250
VALUE_LENGTH = 6000
DESCRIPTION_LENGTH = 5000  # of a registered version; SQLite would take more, other databases not
TAG_LENGTH = 5000  # of registered models

_Item = TypeVar("_Item")


def key(name: str) -> str:
    """`name` as MLflow allows it: letters, digits and `_ - . : / space`, a relative path."""
    parts = re.sub(r"[^/\w.\- :]", "_", name).split("/")
    path = "/".join(part for part in parts if part not in ("", ".", ".."))
    path = re.sub(r"^\.\.", "_.", path)  # MLflow takes it for a parent folder
    return path[:KEY_LENGTH].rstrip("/") or "_"


def keyed(values: Mapping[str, _Item]) -> dict[str, _Item]:
    """`values` by their `key`; names that would become the same one get a suffix of their own."""
    counts = Counter(map(key, values))
    return {_own(name) if counts[key(name)] > 1 else key(name): v for name, v in values.items()}


def _own(name: str) -> str:
    if key(name) == name:
        return name
    digest = hashlib.sha256(name.encode(errors="backslashreplace")).hexdigest()
    return f"{key(name)[: KEY_LENGTH - 9]}_{digest[:8]}"


def cut(text: str, length: int = VALUE_LENGTH) -> str:
    """`text`, cut to `length` characters."""
    return text if len(text) <= length else text[: length - 1] + "…"


def batches(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    """`items` in runs of `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
