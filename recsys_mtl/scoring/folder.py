"""A folder of scored parts that the same command completes after a kill.

scoring.json            model, input and settings; written first
part-00000.parquet      rows 0 to `rows_per_file`, and so on; written atomically
part-00000.counts.json  the part's counts for drift
_SUCCESS                written last
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recsys_mtl.errors import wrong
from recsys_mtl.files import TEMPORARY, atomic_write
from recsys_mtl.scoring.tally import Tally

log = logging.getLogger(__name__)
SETTINGS, SUCCESS = "scoring.json", "_SUCCESS"
_OURS = (SUCCESS, "part-*.parquet", "part-*.counts.json", "drift.json", "drift.html", SETTINGS)
_COMPARED = ("bundle_sha256", "fingerprint", "keep", "rows_per_file", "drift", "csv")


@dataclass(frozen=True)
class PartFolder:
    """The parts of one scoring.

    Attributes:
        folder: where they are.
        settings: what scoring.json holds.
        schema: columns of every part.
        rows: of all parts.
    """

    folder: Path
    settings: Mapping[str, Any]
    schema: pa.Schema
    rows: int

    def begin(self, *, overwrite: bool) -> None:
        """Take the folder: new, or begun by the same command; or emptied of an earlier scoring.

        Raises:
            UserError: it holds another scoring, or Parquet files of something else.
        """
        if overwrite:
            self._clear()
        stored = self._stored()
        if stored is None:
            self._require_no_parquet()
            text = json.dumps(self.settings, indent=2, ensure_ascii=False)
            atomic_write(self.folder / SETTINGS, text + "\n")
            return
        differing = [
            f"{name} ({stored.get(name)} there, {self.settings.get(name)} here)"
            for name in _COMPARED
            if stored.get(name, []) != self.settings.get(name, [])
        ]
        if differing:
            raise wrong(
                "the folder holds another scoring",
                where=str(self.folder),
                found=", ".join(differing),
                fix="give another folder, or --overwrite",
            )
        for path in self.folder.glob(
            f"part-*{TEMPORARY}*"
        ):  # of a killed job: the folder is ours now
            path.unlink(missing_ok=True)

    @property
    def parts(self) -> int:
        """How many there will be."""
        return -(-self.rows // self.rows_per_file)

    @property
    def rows_per_file(self) -> int:
        """Of every part but the last."""
        return int(self.settings["rows_per_file"])

    @property
    def finished(self) -> bool:
        """Whether a scoring ended here."""
        return (self.folder / SUCCESS).exists()

    def finish(self) -> None:
        """Mark the scoring as complete."""
        atomic_write(self.folder / SUCCESS, "")

    def missing(self) -> list[int]:
        """Numbers of the parts that are missing or damaged."""
        return [number for number in range(self.parts) if not self._is_complete(number)]

    def bounds(self, number: int) -> tuple[int, int]:
        """First row of a part, and the one after its last."""
        first = number * self.rows_per_file
        return first, min(first + self.rows_per_file, self.rows)

    def part(self, number: int) -> Path:
        """A part's file."""
        return self.folder / f"part-{number:05d}.parquet"

    def store_tally(self, number: int, tally: Tally) -> None:
        """Store a part's counts, before the part itself."""
        atomic_write(self._tally(number), json.dumps(tally.to_json()))

    def tallies(self) -> Iterator[Tally]:
        """The counts of all parts."""
        for number in range(self.parts):
            yield Tally.from_json(json.loads(self._tally(number).read_text(encoding="utf-8")))

    def _tally(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}.counts.json"

    def _is_complete(self, number: int) -> bool:
        first, last = self.bounds(number)
        try:
            with pq.ParquetFile(self.part(number)) as part:
                complete = part.metadata.num_rows == last - first
                complete &= part.schema_arrow.equals(self.schema)
            tally = Tally.from_json(json.loads(self._tally(number).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return False
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            log.warning("%s is damaged and is written again: %s", self.part(number), error)
            return False
        return complete and tally.rows == last - first

    def _stored(self) -> dict[str, Any] | None:
        path = self.folder / SETTINGS
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            fix = "give another folder, or --overwrite"
            raise wrong("not what a scoring wrote", where=str(path), fix=fix) from error
        return stored if isinstance(stored, dict) else {}

    def _require_no_parquet(self) -> None:
        foreign = sorted(path.name for path in self.folder.glob("*.parquet"))
        if foreign:
            raise wrong(
                "the folder holds Parquet files that no scoring wrote",
                where=str(self.folder),
                found=foreign[0],
                fix="give a new or empty folder",
            )

    def _clear(self) -> None:
        """Delete an earlier scoring; scoring.json, which identifies the files, goes last."""
        if (self.folder / SETTINGS).exists():
            for path in (path for pattern in _OURS for path in self.folder.glob(pattern)):
                path.unlink(missing_ok=True)
