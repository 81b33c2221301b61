"""A folder of scored parts that the same command completes after a kill.

scores/part-00000.parquet        rows 0 to `rows_per_file`, and so on; written atomically
scores/_SUCCESS                  empty; written last
_scores/scoring.json             model, input and settings; written first
_scores/part-00000.counts.json   the part's counts for drift
_scores/drift.json, drift.html   the drift of all rows

The folder is a Parquet data set to pandas, pyarrow, polars and Spark: polars reads every file in it
that is not empty, whatever its name. So the notes have a folder of their own next to it. Earlier
versions kept them among the parts: the next scoring there moves them.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recsys_mtl.errors import UserError, wrong
from recsys_mtl.files import TEMPORARY, atomic_write
from recsys_mtl.scoring.tally import Tally
from recsys_mtl.storage.location import Location, arrow_file

log = logging.getLogger(__name__)
SETTINGS, SUCCESS = "scoring.json", "_SUCCESS"
_PARTS = "part-[0-9]*.parquet"
_NOTES = ("part-[0-9]*.counts.json", "drift.json", "drift.html", SETTINGS)
_COMPARED = ("bundle_sha256", "fingerprint", "keep", "rows_per_file", "drift", "csv", "precision")
_EARLIER = {"precision": "fp32"}  # what settings of earlier versions lack


def notes_folder(folder: Location) -> Location:
    """Where the notes of a scoring into `folder` are."""
    if isinstance(folder, Path):
        folder = Path(os.path.abspath(folder))
    return folder.with_name(f"_{folder.name}")


@dataclass(frozen=True)
class PartFolder:
    """The parts of one scoring.

    Attributes:
        folder: where they are.
        settings: what scoring.json holds.
        schema: columns of every part.
        rows: of all parts.
    """

    folder: Location
    settings: Mapping[str, Any]
    schema: pa.Schema
    rows: int

    def begin(self, *, overwrite: bool) -> None:
        """Take the folder: new, or begun by the same command; or emptied of an earlier scoring.

        Raises:
            UserError: it holds another scoring, or files of something else.
        """
        stored = self._stored()
        differing = [] if stored is None else self._differing(stored)
        if overwrite and (differing or self.finished):
            self._clear()
            stored = None
        if stored is None:
            self._require_unused()
            text = json.dumps(self.settings, indent=2, ensure_ascii=False)
            atomic_write(self.notes / SETTINGS, text + "\n")
            return
        if differing:
            raise wrong(
                "the folder holds another scoring",
                where=str(self.folder),
                found=", ".join(differing),
                fix="give another folder, or --overwrite",
            )
        for path in self.folder.glob(f"*part-*{TEMPORARY}*"):  # of a killed job
            path.unlink(missing_ok=True)
        if not (self.notes / SETTINGS).exists():
            for path in _matching(self.folder, _NOTES):
                if isinstance(path, Path):  # no earlier version wrote to a store
                    path.replace(Path(str(self.notes), path.name))

    @property
    def notes(self) -> Location:
        """The folder of what is no part."""
        return notes_folder(self.folder)

    @property
    def parts(self) -> int:
        """How many there will be; one for no rows, which holds the columns."""
        return max(1, -(-self.rows // self.rows_per_file))

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

    def part(self, number: int) -> Location:
        """A part's file."""
        return self.folder / f"part-{number:05d}.parquet"

    def store_tally(self, number: int, tally: Tally) -> None:
        """Store a part's counts, before the part itself."""
        atomic_write(self._tally(number), json.dumps(tally.to_json()))

    def tallies(self) -> Iterator[Tally]:
        """The counts of all parts."""
        for number in range(self.parts):
            yield Tally.from_json(json.loads(self._tally(number).read_text(encoding="utf-8")))

    def _tally(self, number: int) -> Location:
        return self.notes / f"part-{number:05d}.counts.json"

    def _differing(self, stored: Mapping[str, Any]) -> list[str]:
        there, here = ({**_EARLIER, **settings} for settings in (stored, self.settings))
        return [
            f"{name} ({there.get(name)} there, {here.get(name)} here)"
            for name in _COMPARED
            if there.get(name, []) != here.get(name, [])
        ]

    def _is_complete(self, number: int) -> bool:
        first, last = self.bounds(number)
        try:
            source, filesystem = arrow_file(self.part(number))
            with pq.ParquetFile(source, filesystem=filesystem) as part:
                complete = part.metadata.num_rows == last - first
                complete &= part.schema_arrow.equals(self.schema)
            tally = Tally.from_json(json.loads(self._tally(number).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return False
        except UserError:
            raise
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            log.warning("%s is damaged and is written again: %s", self.part(number), error)
            return False
        return complete and tally.rows == last - first

    def _stored(self) -> dict[str, Any] | None:
        path = self.notes / SETTINGS
        if not path.exists():
            path = self.folder / SETTINGS  # of an earlier version
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError) as error:
            fix = "give another folder"
            raise wrong("not what a scoring wrote", where=str(path), fix=fix) from error
        return stored if isinstance(stored, dict) else {}

    def _require_unused(self) -> None:
        foreign = _matching(self.folder, ("*.parquet", SUCCESS)) or _matching(self.notes, _NOTES)
        if foreign:
            raise wrong(
                "the folder holds files that no scoring wrote",
                where=str(foreign[0].parent),
                found=foreign[0].name,
                fix="give a new or empty folder",
            )

    def _clear(self) -> None:
        """Delete an earlier scoring; scoring.json, which identifies the files, goes last."""
        if self._stored() is not None:
            for folder in (self.folder, self.notes):
                for path in _matching(folder, (SUCCESS, _PARTS, *_NOTES)):
                    path.unlink(missing_ok=True)


def _matching(folder: Location, patterns: Iterable[str]) -> list[Location]:
    """Files in the folder, in the order of the patterns."""
    names = (sorted(path.name for path in folder.glob(pattern)) for pattern in patterns)
    return [folder / name for of_pattern in names for name in of_pattern]
