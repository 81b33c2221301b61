"""What MLflow accepts: the characters and length of names, the length of values, batch sizes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
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
    return path[:KEY_LENGTH].rstrip("/") or "_"


def cut(text: str, length: int = VALUE_LENGTH) -> str:
    """`text`, cut to `length` characters."""
    return text if len(text) <= length else text[: length - 1] + "…"


def batches(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    """`items` in runs of `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
