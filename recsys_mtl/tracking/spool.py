"""`metrics.jsonl`: the metrics of a run while its tracking server is away."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsys_mtl.files import atomic_write

log = logging.getLogger(__name__)
NAME = "metrics.jsonl"


class Spool:
    """A file of one line a step; a resumed run adds no line twice.

    Args:
        folder: of the file; made with the first line.
        resumed: whether the lines in it are those of the same run.
    """

    def __init__(self, folder: Path, *, resumed: bool = False) -> None:
        self.path = folder / NAME
        self._known = self._lines() if resumed and self.path.is_file() else set()

    def add(self, record: Mapping[str, Any]) -> None:
        """Append a line."""
        key = _key(record)
        if key in self._known:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            log.warning("metrics could not be kept in %s: %s", self.path.parent, error)
            return
        self._known.add(key)

    def _lines(self) -> set[str]:
        """The keys of all lines; half a line, of a killed process, is cut off."""
        text = self.path.read_text(encoding="utf-8", errors="replace")
        lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        if (kept := "".join(lines)) != text:
            atomic_write(self.path, kept)
        return {_key(json.loads(line)) for line in lines}


def _key(record: Mapping[str, Any]) -> str:
    return json.dumps([record["step"], sorted(record["metrics"])])
