"""Rows to predictions, chunk by chunk, in constant memory.

A thread reads and encodes while the network works on the chunk before. Chunks start at the first
row of a part and have one size, so that a job that is resumed after a kill gives the same numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

import polars as pl

from recsys_mtl.columns.rows import ROW
from recsys_mtl.data.prefetch import prefetched
from recsys_mtl.data.source import Source
from recsys_mtl.scoring.tally import Tally
from recsys_mtl.serving.predictor import Predictor
from recsys_mtl.serving.reference import Reference


@dataclass(frozen=True)
class Scorer:
    """How rows are scored.

    Attributes:
        predictor: the model.
        source: the rows.
        keep: columns that are copied to the output.
        reference: what is counted for drift; None counts nothing.
        chunk_rows: rows held in memory at a time.
    """

    predictor: Predictor
    source: Source
    keep: tuple[str, ...]
    reference: Reference | None
    chunk_rows: int

    def scored(
        self, first: int, last: int, *, part_rows: int = sys.maxsize, stop: Callable[[], bool]
    ) -> Iterator[tuple[pl.DataFrame, Tally]]:
        """Output rows and their counts, chunk by chunk; no chunk lies in two parts.

        Args:
            first: row to start at.
            last: row to end before.
            part_rows: rows of a part.
            stop: called before every chunk.

        Raises:
            UserError: a damaged file or a value that the model does not read.
            KeyboardInterrupt: `stop` returned true.
        """
        columns = list(dict.fromkeys([*self.predictor.columns, *self.keep]))
        frames = self.source.frames(columns, chunk_rows=self.chunk_rows, skip_rows=first)
        numbered = (frame.with_row_index(ROW, row) for row, frame in frames)
        pieces = regrouped(numbered, first, last, chunk_rows=self.chunk_rows, part_rows=part_rows)
        encoded = ((f, self.predictor.preprocessor.encode(f, labels=False)) for f in pieces)
        with closing(prefetched(encoded)) as ready:
            for frame, batch in ready:
                if stop():
                    raise KeyboardInterrupt
                scores = self.predictor.predict_encoded(batch)
                tally = Tally.of(self.reference, self.predictor, frame, batch, scores)
                yield pl.DataFrame([*(frame[name] for name in self.keep), *scores]), tally


def regrouped(
    frames: Iterable[pl.DataFrame], first: int, last: int, *, chunk_rows: int, part_rows: int
) -> Iterator[pl.DataFrame]:
    """The rows from `first` to before `last` in chunks that start anew with every part.

    Args:
        frames: the rows from `first` on, cut in any way.
        first: number of the first row.
        last: where to end.
        chunk_rows: rows of a chunk; the last one of a part is shorter.
        part_rows: rows of a part.
    """
    held: list[pl.DataFrame] = []
    row = first  # number of the next one that is not held
    for frame in frames:
        while frame.height and row < last:
            inside = row % part_rows
            free = min(chunk_rows - inside % chunk_rows, part_rows - inside, last - row)
            held.append(frame.head(free))
            frame = frame.slice(free)
            row += held[-1].height
            if held[-1].height == free:
                yield pl.concat(held)
                held = []
        if row == last:
            return
