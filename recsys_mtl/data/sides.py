"""The rows of a run as raw frames, by side: train, valid, test.

A single source is cut by `split.assign`; given files are three sources. Either way the same rows
come out in the same order whenever they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.config.schema import Data, FileSplit, GroupSplit, Split, TimeSplit
from recsys_mtl.data.encoders import ROW
from recsys_mtl.data.source import Source
from recsys_mtl.data.split import Bounds, assign, require_rows, time_bounds

Side = Literal["train", "valid", "test"]
SIDES: tuple[Side, ...] = ("train", "valid", "test")


@dataclass(frozen=True)
class Sides:
    """The three sides of a run's data.

    Attributes:
        sources: the source of each side; one and the same unless the split is by files.
        counts: rows of each side, and "dropped": rows in a time split's gap.
    """

    sources: dict[Side, Source]
    counts: dict[str, int]
    _split: Split
    _seed: int
    _bounds: Bounds | None

    @classmethod
    def open(cls, data: Data, root: Path, seed: int, *, text: set[str], numbers: set[str]) -> Sides:
        """Open every source and count the rows of each side.

        Args:
            data: the config's section.
            root: folder that relative paths start from.
            seed: decides the sides of fraction and group splits.
            text: columns that a CSV file's values are read as text from.
            numbers: columns that a CSV file's values are read as float64 from.

        Raises:
            UserError: a source cannot be opened, the split's column is unknown, or a side is empty.
        """

        def source(paths: str | list[str], where: str) -> Source:
            return Source.open(
                paths,
                root=root,
                fmt=data.format,
                text_columns=text,
                number_columns=numbers,
                where=where,
            )

        if isinstance(data.split, FileSplit):
            sources: dict[Side, Source] = {
                "train": source(data.path, "data.path"),
                "valid": source(data.split.valid, "data.split.valid"),
                "test": source(data.split.test, "data.split.test"),
            }
            counts = {side: sources[side].num_rows for side in SIDES} | {"dropped": 0}
            require_rows(counts, data.split)
            return cls(sources, counts, data.split, seed, None)
        whole = source(data.path, "data.path")
        bounds = time_bounds(whole, data.split) if isinstance(data.split, TimeSplit) else None
        sides = cls(dict.fromkeys(SIDES, whole), {}, data.split, seed, bounds)
        counted = np.zeros(4, dtype=np.int64)
        read = sides.split_columns or list(whole.columns)[:1]  # any column tells the height
        for first_row, frame in whole.frames(read):
            counted += np.bincount(sides._assign(frame, first_row) + 1, minlength=4)
        counts = dict(zip(("dropped", *SIDES), counted.tolist(), strict=True))
        require_rows(counts, data.split)
        return cls(sides.sources, counts, data.split, seed, bounds)

    @property
    def split_columns(self) -> list[str]:
        """Raw columns that the split itself reads."""
        if isinstance(self._split, GroupSplit | TimeSplit):
            return [self._split.column]
        return []

    def walk(
        self, columns: list[str], sides: tuple[Side, ...] = SIDES
    ) -> Iterator[tuple[Side, pl.DataFrame]]:
        """The rows of the given sides in one pass, each frame with the side it belongs to.

        Within a side the order is that of the files; no frame is empty. Beside the columns there is
        `encoders.ROW`, the row's number within its source, for messages.
        """
        if isinstance(self._split, FileSplit):
            for side in sides:
                for first_row, frame in self.sources[side].frames(columns):
                    yield side, frame.with_row_index(ROW, first_row)
            return
        read = [*columns, *(c for c in self.split_columns if c not in columns)]
        for first_row, frame in self.sources["train"].frames(read):
            codes = self._assign(frame, first_row)
            numbered = frame.with_row_index(ROW, first_row).select(ROW, *columns)
            for side in sides:
                mine = codes == SIDES.index(side)
                if mine.any():
                    yield side, numbered.filter(pl.Series(mine))

    def frames(self, side: Side, columns: list[str]) -> Iterator[pl.DataFrame]:
        """The rows of one side, in the order of the files."""
        return (frame for _, frame in self.walk(columns, (side,)))

    def _assign(self, frame: pl.DataFrame, first_row: int) -> NDArray[np.int8]:
        assert not isinstance(self._split, FileSplit)
        return assign(frame, first_row, self._split, self._seed, self._bounds)
