"""Writing the predictions of a scoring, as one file or as a folder of parts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_mtl.files import atomic_file, folder_made
from recsys_mtl.folder_lock import locked
from recsys_mtl.model.device import Precision
from recsys_mtl.progress import Advance, progress
from recsys_mtl.reports.output import prepare_location
from recsys_mtl.reports.page import Page
from recsys_mtl.scoring.drift import Drift, measure
from recsys_mtl.scoring.drift_page import write_drift
from recsys_mtl.scoring.folder import PartFolder
from recsys_mtl.scoring.model import ModelFolder
from recsys_mtl.scoring.output import MARK, drift_name
from recsys_mtl.scoring.rows import output_schema
from recsys_mtl.scoring.stream import Scorer
from recsys_mtl.scoring.tally import Tally
from recsys_mtl.storage.location import Location
from recsys_mtl.version import installed_version

log = logging.getLogger(__name__)
ROWS_PER_FILE = 1_000_000
Written = tuple[int, list[Drift] | None]
"""Rows that were scored, and the drift of all rows where it is measured."""
_Chunks = Iterator[tuple[pl.DataFrame, Tally]]


@dataclass(frozen=True)
class Options:
    """How predictions are written.

    Attributes:
        keep: raw columns that are copied in front of the predictions.
        rows_per_file: rows of a part; only for a folder.
        overwrite: whether another scoring in the folder, or a file of something else, is replaced.
        drift: whether drift is measured, where the model has a reference for it.
        batch_rows: rows held in memory at a time.
        precision: of the network's matrix products; bf16 is faster and has three digits.
        spread: whether the members' standard deviation of each number is a column too.
        csv: how the input's CSV files are written, where not as the model's: `delimiter=;`. Files
            of any name are CSV then.
    """

    keep: tuple[str, ...] = ()
    rows_per_file: int | None = None
    overwrite: bool = False
    drift: bool = True
    batch_rows: int = 65_536
    precision: Precision = "fp32"
    spread: bool = False
    csv: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScoringJob:
    """One scoring: model, rows, output, options, and what receives the page on drift."""

    model: ModelFolder
    scorer: Scorer
    input: str
    output: Location
    options: Options
    show: Callable[[Page], None] | None = None

    @property
    def schema(self) -> pa.Schema:
        """Columns of the output."""
        columns = output_schema(self.scorer.predictor, self.scorer.source, self.scorer.keep)
        return columns.with_metadata({MARK: installed_version()})

    def write_file(self, stop: Callable[[], bool]) -> Written:
        """All rows into one file."""
        prepare_location(self.output.parent)
        rows = self.scorer.source.num_rows
        try:
            with (
                folder_made(self.output.parent),
                atomic_file(self.output, prefix="_") as temporary,
                progress("predict", rows) as advance,
            ):
                chunks = self.scorer.scored(0, rows, stop=stop)
                tally = _write(temporary, self.schema, chunks, rows, advance)
        except KeyboardInterrupt:
            log.warning(
                "nothing was written; a folder as --output can resume after an interruption"
            )
            raise
        name = drift_name(self.output)
        for suffix in ("json", "html"):  # of earlier predictions
            (self.output.parent / f"{name}.{suffix}").unlink(missing_ok=True)
        return rows, self._drift(tally, self.output.parent, name)

    def write_parts(self, stop: Callable[[], bool]) -> Written:
        """The parts that are missing; their rows, and the drift of all rows."""
        prepare_location(self.output.parent)
        rows = self.scorer.source.num_rows
        parts = PartFolder(self.output, self._settings(), self.schema, rows)
        for folder in (self.output, parts.notes):
            prepare_location(folder)
        with folder_made(self.output), folder_made(parts.notes), locked(parts.notes):
            parts.begin(overwrite=self.options.overwrite)
            missing = parts.missing()
            if parts.finished and not missing:
                log.info("%s is finished: nothing is written", self.output)
                return 0, None
            try:
                scored = self._fill(parts, missing, stop)
            except KeyboardInterrupt:
                complete = parts.parts - len(parts.missing())
                log.warning(
                    "%d of %d parts are in %s; the same command resumes with the next",
                    complete, parts.parts, self.output,
                )  # fmt: skip
                raise
            drifts = self._drift(sum(parts.tallies(), Tally()), parts.notes, "drift")
            parts.finish()
        return scored, drifts

    def _fill(self, parts: PartFolder, missing: list[int], stop: Callable[[], bool]) -> int:
        """Score the missing parts, adjacent ones in one pass; returns their rows."""
        scored = 0
        sizes = {number: parts.bounds(number) for number in missing}
        with progress("predict", sum(last - first for first, last in sizes.values())) as advance:
            for run in _runs(missing):
                chunks = self.scorer.scored(
                    sizes[run[0]][0], sizes[run[-1]][1], part_rows=parts.rows_per_file, stop=stop
                )
                for number in run:
                    first, last = sizes[number]
                    with atomic_file(parts.part(number), prefix="_") as temporary:
                        tally = _write(temporary, parts.schema, chunks, last - first, advance)
                        parts.store_tally(number, tally)
                    scored += tally.rows
        return scored

    def _settings(self) -> dict[str, Any]:
        return {
            "model": str(self.model.folder),
            "registered": self.model.registered,
            "bundle_sha256": self.model.sha256,
            "input": self.input,
            "fingerprint": self.scorer.source.fingerprint(),
            "rows": self.scorer.source.num_rows,
            "keep": list(self.scorer.keep),
            "rows_per_file": self.options.rows_per_file or ROWS_PER_FILE,
            "drift": self.scorer.reference is not None,
            "precision": self.options.precision,
            "csv": list(self.options.csv),
            **({"spread": True} if self.options.spread else {}),
        }

    def _drift(self, tally: Tally, folder: Location, name: str) -> list[Drift] | None:
        reference = self.scorer.reference
        if reference is None:
            return None
        drifts = measure(reference, tally)
        page = write_drift(drifts, folder, name, reference, tally)
        if self.show is not None:
            self.show(page)
        return drifts


def _write(path: Path, schema: pa.Schema, chunks: _Chunks, rows: int, advance: Advance) -> Tally:
    """The next `rows` rows into a Parquet file; no more chunks are read than these need."""
    tally = Tally()
    with pq.ParquetWriter(path, schema) as writer:
        while tally.rows < rows:
            frame, counted = next(chunks)
            writer.write_table(frame.to_arrow().cast(schema))
            tally += counted
            advance(frame.height)
    return tally


def _runs(numbers: list[int]) -> Iterator[list[int]]:
    """Rising numbers as runs without a gap."""
    run: list[int] = []
    for number in numbers:
        if run and number != run[-1] + 1:
            yield run
            run = []
        run.append(number)
    if run:
        yield run
