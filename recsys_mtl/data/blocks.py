"""Where the training rows lie in their files, so that a loader starts to read at any of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys_mtl.data.source import Source

BLOCK_ROWS = 65_536  # smaller ones cost more seeks and footers than the rows themselves


@dataclass(frozen=True)
class Blocks:
    """Runs of complete row groups, and how many of their rows are training rows.

    Attributes:
        starts: (K + 1,) int64, first row of each block within the source; the last is its length.
        counts: (K,) int64, training rows of each block.
    """

    starts: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, source: Source, least_rows: int | None = None) -> Blocks:
        """The blocks of a source with at least so many rows each, but for the last; none counted.

        A CSV file is never cut, as its rows cannot be reached without those before.
        """
        least = BLOCK_ROWS if least_rows is None else least_rows
        groups = [rows for reader in source.readers for rows in reader.group_rows]
        starts = [0]
        for end in accumulate(groups):
            if end - starts[-1] >= least:
                starts.append(end)
        if starts[-1] < source.num_rows:
            starts.append(source.num_rows)
        return cls(np.array(starts, np.int64), np.zeros(len(starts) - 1, np.int64))

    def count(self, rows: pl.Series) -> None:
        """Count training rows by their numbers within the source, in rising order."""
        if rows.is_empty():
            return
        numbers = rows.to_numpy()
        first, last = np.searchsorted(self.starts, numbers[[0, -1]], side="right") - 1
        borders = np.searchsorted(numbers, self.starts[first : last + 2])
        self.counts[first : last + 1] += np.diff(borders)
