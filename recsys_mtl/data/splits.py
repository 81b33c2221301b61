"""The rows of a run as raw frames, by split: train, valid, test.

A single source is cut by `assign`; given files are three sources. Either way the same rows
come in the same order at every request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, NamedTuple

import polars as pl

from recsys_mtl.columns.rows import ROW
from recsys_mtl.config.data import (
    DataConfig,
    FileSplitConfig,
    GroupSplitConfig,
    SplitConfig,
    TimeSplitConfig,
)
from recsys_mtl.data.assign import Bounds, assign, count_rows, require_rows
from recsys_mtl.data.blocks import Blocks
from recsys_mtl.data.negatives import Negatives
from recsys_mtl.data.raw import RawRows, kept_rows, thinned
from recsys_mtl.data.source import Source
from recsys_mtl.storage.location import Location

SplitName = Literal["train", "valid", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")


class Span(NamedTuple):
    """Rows of a source from `first` to before `end` (None: all), read in chunks of that size."""

    first: int = 0
    end: int | None = None
    chunk_rows: int = 131_072

    def of(self, source: Source, columns: list[str]) -> Iterator[tuple[int, pl.DataFrame]]:
        """These rows of a source; see `Source.frames`."""
        first, end, chunk_rows = self
        return source.frames(columns, chunk_rows=chunk_rows, skip_rows=first, end_row=end)


_ALL = Span()
_AFTER_NEGATIVES = 2  # the seed itself splits, the next two take samples and negatives


def open_sources(
    data: DataConfig,
    root: Location,
    *,
    text: AbstractSet[str],
    numbers: AbstractSet[str],
    inferred: AbstractSet[str] | None = None,
) -> dict[SplitName, Source]:
    """Open the source of each split: one and the same unless the split is by files.

    Args:
        data: the config's section.
        root: folder that relative paths start from.
        text: columns that a CSV file's values are read as text from.
        numbers: columns that a CSV file's values are read as float64 from.
        inferred: columns whose type a CSV file's values decide; None: all others.

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
            inferred_columns=inferred,
            csv=data.csv,
            where=where,
        )

    train = source(data.path, "data.path")
    if not isinstance(data.split, FileSplitConfig):
        return dict.fromkeys(SPLITS, train)
    return {
        "train": train,
        "valid": source(data.split.valid, "data.split.valid"),
        "test": source(data.split.test, "data.split.test"),
    }


def distinct(sources: Mapping[SplitName, Source]) -> list[Source]:
    """Each source once."""
    return list({id(source): source for source in sources.values()}.values())


@dataclass(frozen=True)
class Splits:
    """The three splits of a run's data.

    Attributes:
        sources: the source of each split; one and the same unless the split is by files.
        counts: rows of each split, "dropped": rows in a time split's gap, and, of thinned training
            rows, "negatives_left_out".
        negatives: thins the training rows; None: all of them.
        blocks: where the training rows lie; None: not counted yet, see `counted`.
        label_shares: shares of the training and validation labels that are used, by column.
    """

    sources: dict[SplitName, Source]
    counts: dict[str, int]
    _config: SplitConfig
    _seed: int
    _bounds: Bounds | None
    negatives: Negatives | None = None
    blocks: Blocks | None = None
    label_shares: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, sources: dict[SplitName, Source], config: SplitConfig, seed: int) -> Splits:
        """Cut the sources and count the rows of each split.

        Args:
            sources: of `open_sources`.
            config: how to split.
            seed: decides the splits of fraction and group splits.

        Raises:
            UserError: the split's column is unknown or cannot be read, or a split is empty.
        """
        if isinstance(config, FileSplitConfig):
            counted, bounds = [0, *(sources[split].num_rows for split in SPLITS)], None
        else:
            counted, bounds = count_rows(sources["train"], config, seed)
        counts: dict[str, int] = dict(zip(("dropped", *SPLITS), counted, strict=True))
        require_rows(counts, config)
        return cls(sources, counts, config, seed, bounds)

    def thinned(self, negatives: Negatives, kept: int) -> Splits:
        """The same with thinned training rows, `kept` of them."""
        counts = {**self.counts, "train": kept, "negatives_left_out": self.counts["train"] - kept}
        return replace(self, counts=counts, negatives=negatives)

    def counted(self) -> Splits:
        """The same with `blocks`, by one more pass over the rows if they are not there."""
        if self.blocks is not None:
            return self
        source = self.sources["train"]
        blocks, column = (
            Blocks.of(source),
            next(c for c in source.columns if c not in source.unread),
        )
        for frame in self.frames("train", [column]):
            blocks.count(frame[ROW])
        return replace(self, blocks=blocks)

    def fingerprint(self) -> str:
        """One name for the content of all sources."""
        return "-".join(dict.fromkeys(s.fingerprint() for s in distinct(self.sources)))

    def rows(self, split: SplitName) -> RawRows:
        """The rows of one split, in the order of the files."""
        frames = partial(self.frames, split)
        return RawRows(self.sources[split], self.counts[split], frames, self.fingerprint)

    def iterate(
        self, columns: list[str], splits: tuple[SplitName, ...] = SPLITS, span: Span = _ALL
    ) -> Iterator[tuple[SplitName, pl.DataFrame]]:
        """The rows of the given splits in one pass, each frame with the split it belongs to.

        Within a split the order is that of the files; no frame is empty. Each frame has `ROW`, the
        row's number within its source, before the columns.
        """
        if self.negatives is not None and "train" in splits:
            read = list(dict.fromkeys([*columns, *self.negatives.columns]))
            for split, frame in self._iterate(read, splits, span):
                kept = self.negatives.thinned(frame) if split == "train" else frame
                if kept.height:
                    yield split, kept[[ROW, *columns]]
            return
        yield from self._iterate(columns, splits, span)

    def _iterate(
        self, columns: list[str], splits: tuple[SplitName, ...], span: Span
    ) -> Iterator[tuple[SplitName, pl.DataFrame]]:
        """`iterate` of all rows."""
        for split, frame in self._rows(columns, splits, span):
            yield split, frame if split == "test" else self._labelled(frame)

    def _labelled(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The same rows, of which some have lost a label."""
        for column, share in self.label_shares.items():
            if column in frame.columns:
                used = pl.Series(kept_rows(frame, share, self._seed + _AFTER_NEGATIVES))
                frame = frame.with_columns(pl.when(used).then(column).alias(column))
        return frame

    def _rows(
        self, columns: list[str], splits: tuple[SplitName, ...], span: Span
    ) -> Iterator[tuple[SplitName, pl.DataFrame]]:
        """The rows as they lie in the files."""
        if isinstance(self._config, FileSplitConfig):
            for split in splits:
                for first_row, frame in span.of(self.sources[split], columns):
                    yield split, frame.with_row_index(ROW, first_row)
            return
        read = list(dict.fromkeys([*columns, *_split_columns(self._config)]))
        for first_row, frame in span.of(self.sources["train"], read):
            codes = assign(frame, first_row, self._config, self._seed, self._bounds)
            numbered = frame.with_row_index(ROW, first_row)[[ROW, *columns]]
            for split in splits:
                in_split = codes == SPLITS.index(split)
                if in_split.any():
                    yield split, numbered.filter(pl.Series(in_split))

    def frames(
        self, split: SplitName, columns: list[str], span: Span = _ALL
    ) -> Iterator[pl.DataFrame]:
        """The rows of one split, in the order of the files."""
        return (frame for _, frame in self.iterate(columns, (split,), span))

    def sample(self, split: SplitName, columns: list[str], rows: int) -> Iterator[pl.DataFrame]:
        """About `rows` rows from all over a split; all of them where there are fewer."""
        share = rows / self.counts[split]
        return (thinned(frame, share, self._seed) for frame in self.frames(split, columns))


def _split_columns(config: SplitConfig) -> list[str]:
    """Raw columns that the split itself reads."""
    return [config.column] if isinstance(config, GroupSplitConfig | TimeSplitConfig) else []
