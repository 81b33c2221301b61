"""Raw rows that are read again at every request, and samples of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.hashing import uniform
from recsys_mtl.columns.rows import ROW
from recsys_mtl.data.source import Source


@dataclass(frozen=True)
class RawRows:
    """Raw rows in the order of their files: those of a split, or all rows of some files.

    Attributes:
        source: where they are.
        num_rows: how many there are.
        frames: reads the given columns of them once more; each frame has `ROW` before these.
        fingerprint: names the content of the files; see `recsys_mtl.data.files.fingerprint`.
    """

    source: Source
    num_rows: int
    frames: Callable[[list[str]], Iterator[pl.DataFrame]]
    fingerprint: Callable[[], str]

    @classmethod
    def of(cls, source: Source) -> RawRows:
        """All rows of a source."""

        def frames(columns: list[str]) -> Iterator[pl.DataFrame]:
            for first_row, frame in source.frames(columns):
                yield frame.with_row_index(ROW, first_row)

        return cls(source, source.num_rows, frames, source.fingerprint)


def thinned(frame: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    """The rows that a hash of row number and seed keeps; a smaller share keeps some of the same."""
    return frame if share >= 1.0 else frame.filter(pl.Series(kept_rows(frame, share, seed)))


def kept_rows(frame: pl.DataFrame, share: float, seed: int) -> NDArray[np.bool_]:
    """(B,) whether `thinned` keeps a row."""
    rows = frame[ROW].cast(pl.UInt64).to_numpy()
    return uniform(rows, seed + 1) < share  # the seed itself splits
