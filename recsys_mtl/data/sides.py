"""The rows of a run as raw frames, by side: train, valid, test.

A single source is cut by `split.assign`; given files are three sources. Either way the same rows
come out in the same order whenever they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.hashing import uniform
from recsys_mtl.columns.rows import ROW
from recsys_mtl.config.data import (
    DataConfig,
    FileSplitConfig,
    GroupSplitConfig,
    SplitConfig,
    TimeSplitConfig,
)
from recsys_mtl.data.source import Source
from recsys_mtl.data.split import Bounds, assign, require_rows, time_bounds

Side = Literal["train", "valid", "test"]
SIDES: tuple[Side, ...] = ("train", "valid", "test")


def open_sources(
    data: DataConfig, root: Path, *, text: set[str], numbers: set[str]
) -> dict[Side, Source]:
    """Open the source of each side: one and the same unless the split is by files.

    Args:
        data: the config's section.
        root: folder that relative paths start from.
        text: columns that a CSV file's values are read as text from.
        numbers: columns that a CSV file's values are read as float64 from.

    Raises:
        UserError: a source cannot be opened.
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

    train = source(data.path, "data.path")
    if not isinstance(data.split, FileSplitConfig):
        return dict.fromkeys(SIDES, train)
    return {
        "train": train,
        "valid": source(data.split.valid, "data.split.valid"),
        "test": source(data.split.test, "data.split.test"),
    }


def distinct(sources: Mapping[Side, Source]) -> list[Source]:
    """Each source once."""
    return list({id(source): source for source in sources.values()}.values())


def thinned(frame: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    """The rows that a hash of row number and seed keeps; a smaller share keeps some of the same."""
    if share >= 1.0:
        return frame
    chance = uniform(frame[ROW].cast(pl.UInt64).to_numpy(), seed + 1)  # the seed itself splits
    return frame.filter(pl.Series(chance < share))


@dataclass(frozen=True)
class Sides:
    """The three sides of a run's data.

    Attributes:
        sources: the source of each side; one and the same unless the split is by files.
        counts: rows of each side, and "dropped": rows in a time split's gap.
    """

    sources: dict[Side, Source]
    counts: dict[str, int]
    _split: SplitConfig
    _seed: int
    _bounds: Bounds | None

    @classmethod
    def of(cls, sources: dict[Side, Source], split: SplitConfig, seed: int) -> Sides:
        """Cut the sources and count the rows of each side.

        Args:
            sources: of `open_sources`.
            split: the config's split.
            seed: decides the sides of fraction and group splits.

        Raises:
            UserError: the split's column is unknown or cannot be read, or a side is empty.
        """
        if isinstance(split, FileSplitConfig):
            counts = {side: sources[side].num_rows for side in SIDES} | {"dropped": 0}
            require_rows(counts, split)
            return cls(sources, counts, split, seed, None)
        whole = sources["train"]
        bounds = time_bounds(whole, split) if isinstance(split, TimeSplitConfig) else None
        sides = cls(sources, {}, split, seed, bounds)
        counted = np.zeros(4, dtype=np.int64)
        read = sides.split_columns or list(whole.columns)[:1]  # any column tells the height
        for first_row, frame in whole.frames(read):
            counted += np.bincount(sides._assign(frame, first_row) + 1, minlength=4)
        counts = dict(zip(("dropped", *SIDES), counted.tolist(), strict=True))
        require_rows(counts, split)
        return cls(sources, counts, split, seed, bounds)

    @property
    def split_columns(self) -> list[str]:
        """Raw columns that the split itself reads."""
        if isinstance(self._split, GroupSplitConfig | TimeSplitConfig):
            return [self._split.column]
        return []

    def walk(
        self, columns: list[str], sides: tuple[Side, ...] = SIDES
    ) -> Iterator[tuple[Side, pl.DataFrame]]:
        """The rows of the given sides in one pass, each frame with the side it belongs to.

        Within a side the order is that of the files; no frame is empty. Beside the columns there is
        `encoders.ROW`, the row's number within its source, for messages.
        """
        if isinstance(self._split, FileSplitConfig):
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

    def sample(self, side: Side, columns: list[str], rows: int) -> Iterator[pl.DataFrame]:
        """About so many rows of a side, from all over it; all of them where they are fewer."""
        share = rows / self.counts[side]
        return (thinned(frame, share, self._seed) for frame in self.frames(side, columns))

    def _assign(self, frame: pl.DataFrame, first_row: int) -> NDArray[np.int8]:
        assert not isinstance(self._split, FileSplitConfig)
        return assign(frame, first_row, self._split, self._seed, self._bounds)
