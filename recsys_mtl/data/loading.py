"""Loaders of raw rows: encoded once and held in memory where they fit, else read every epoch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import TypeVar

import polars as pl

from recsys_mtl.config.data import DataConfig
from recsys_mtl.config.schema import Config
from recsys_mtl.data.batch import Batch, concat
from recsys_mtl.data.lanes import BlockedRows, LaneLoader
from recsys_mtl.data.loader import Loader, MemoryLoader, StreamLoader, loading_threads
from recsys_mtl.data.prefetch import made_ahead
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.data.raw import RawRows
from recsys_mtl.data.splits import SPLITS, Span, SplitName, Splits
from recsys_mtl.errors import wrong

log = logging.getLogger(__name__)
See = Callable[[SplitName, pl.DataFrame, Batch], None]
_Key = TypeVar("_Key")
_JOINED_ROWS = 65_536
_LANE_ROWS = 16_384  # read at a time: each lane holds some of them


def load_rows(config: Config, rows: RawRows, preprocessor: Preprocessor) -> Loader:
    """A loader of rows in their order.

    Args:
        config: how they are loaded.
        rows: which.
        preprocessor: encodes them.
    """
    columns = preprocessor.columns(labels=True)
    frames = (("rows", frame) for frame in rows.frames(columns))
    held = _held(config, frames, rows.num_rows, lambda _, frame: preprocessor.encode(frame))
    if held is None:
        return _stream(config, rows, columns, preprocessor.encode)
    return _memory(config, held["rows"])


def load_splits(
    config: Config,
    splits: Splits,
    preprocessor: Preprocessor,
    see: See | None = None,
    *,
    rank: int = 0,
    world: int = 1,
) -> dict[SplitName, Loader]:
    """A loader of each split; train is shuffled, the others are in the order of the files.

    Every row is encoded once, but for training rows that are streamed: so wrong rows are detected
    now, not after the training.

    Args:
        config: how they are loaded.
        splits: raw rows.
        preprocessor: encodes them.
        see: is shown each frame that is encoded, with its batch.
        rank: this process, see `recsys_mtl.data.loader`.
        world: number of processes.

    Raises:
        UserError: a value that may not be; or training rows that so many processes cannot stream.
    """
    columns = preprocessor.columns(labels=True)

    def encode(split: SplitName, frame: pl.DataFrame) -> Batch:
        batch, negatives = preprocessor.encode(frame), splits.negatives
        return negatives.weighted(batch) if negatives and split == "train" else batch

    held = _held(
        config,
        splits.iterate(columns),
        sum(splits.counts[split] for split in SPLITS),
        encode,
        see,
    )
    if held is not None:
        return {
            split: _memory(config, held.pop(split), split == "train", rank, world)
            for split in SPLITS
        }
    for split, frame in _joined(splits.iterate(columns, ("valid", "test"))):
        batch = encode(split, frame)
        if see is not None:
            see(split, frame, batch)
    loaders: dict[SplitName, Loader] = {
        split: _stream(config, splits.rows(split), columns, partial(encode, split), rank, world)
        for split in SPLITS
        if split != "train"
    }
    train = _lanes(config, splits, columns, partial(encode, "train"), rank, world)
    return {"train": train, **loaders}


def _held(
    config: Config,
    frames: Iterable[tuple[_Key, pl.DataFrame]],
    num_rows: int,
    encode: Callable[[_Key, pl.DataFrame], Batch],
    see: Callable[[_Key, pl.DataFrame, Batch], None] | None = None,
) -> dict[_Key, list[Batch]] | None:
    """The encoded rows by key; None where they are to be streamed."""
    data = config.data
    if data.loading == "stream":
        return None

    def encoded(part: tuple[_Key, pl.DataFrame]) -> tuple[_Key, pl.DataFrame, Batch]:
        return (*part, encode(*part))

    held: dict[_Key, list[Batch]] = {}
    threads = loading_threads(config.training.threads)
    made = made_ahead([_joined(frames)], encoded, ahead=threads + 1, threads=threads)
    with closing(made) as parts:
        for key, frame, batch in parts:
            if not held and data.loading == "auto" and _too_large(batch, num_rows, data):
                return None
            held.setdefault(key, []).append(batch)
            if see is not None:
                see(key, frame, batch)
    return held


def _joined(frames: Iterable[tuple[_Key, pl.DataFrame]]) -> Iterator[tuple[_Key, pl.DataFrame]]:
    """The same rows by key in frames of at least `_JOINED_ROWS`, which encode faster."""
    parts: dict[_Key, list[pl.DataFrame]] = {}
    for key, frame in frames:
        parts.setdefault(key, []).append(frame)
        if sum(part.height for part in parts[key]) >= _JOINED_ROWS:
            yield key, pl.concat(parts.pop(key), how="vertical_relaxed")
    for key, rest in parts.items():
        yield key, pl.concat(rest, how="vertical_relaxed")


def _too_large(first: Batch, num_rows: int, data: DataConfig) -> bool:
    """Whether so many rows like the first ones exceed `memory_limit_mb`."""
    total = first.num_bytes / max(first.num_rows, 1) * num_rows
    streams = total > data.memory_limit_mb * 2**20
    log.info(
        "encoded rows take %.0f MB: %s", total / 2**20, "streamed" if streams else "held in memory"
    )
    return streams


def _memory(
    config: Config, batches: list[Batch], train: bool = False, rank: int = 0, world: int = 1
) -> Loader:
    return MemoryLoader(
        concat(batches),
        batch_size=config.training.batch_size,
        shuffle=train,
        seed=_shuffle_seed(config),
        rank=rank,
        world=world,
    )


def _stream(
    config: Config,
    rows: RawRows,
    columns: list[str],
    encode: Callable[[pl.DataFrame], Batch],
    rank: int = 0,
    world: int = 1,
) -> Loader:
    return StreamLoader(
        partial(rows.frames, columns),
        encode=encode,
        num_rows=rows.num_rows,
        batch_size=config.training.batch_size,
        rank=rank,
        world=world,
    )


def _lanes(
    config: Config,
    splits: Splits,
    columns: list[str],
    encode: Callable[[pl.DataFrame], Batch],
    rank: int,
    world: int,
) -> LaneLoader:
    """The training rows; those of a CSV are one lane, as each lane would read all before it."""
    seekable = all(reader.seekable for reader in splits.sources["train"].readers)
    lanes = config.data.lanes if seekable else 1
    if lanes % world:
        raise wrong(
            f"{world} processes cannot share {lanes} lanes of streamed training rows",
            where="data.lanes",
            expected=f"a multiple of {world}" if seekable else "Parquet, as a CSV is one lane",
            found=lanes,
            fix="set data.lanes, or data.loading: memory" if seekable else "write Parquet files",
        )
    counted = splits.counted().blocks
    assert counted is not None, "just counted"
    blocks = counted

    def read(block: int) -> Iterator[pl.DataFrame]:
        first, end = blocks.starts[block : block + 2].tolist()
        return splits.frames("train", columns, Span(first, end, _LANE_ROWS))

    loader = LaneLoader(
        BlockedRows(blocks.counts.tolist(), read, encode),
        batch_size=config.training.batch_size,
        shuffle_buffer=config.data.shuffle_buffer,
        seed=_shuffle_seed(config),
        lanes=lanes,
        rank=rank,
        world=world,
    )
    log.info(
        "training rows are streamed in %d lanes: %.2f rows read for each used",
        lanes,
        loader.read_ratio,
    )
    return loader


def _shuffle_seed(config: Config) -> int:
    own = config.training.shuffle_seed
    return config.seed if own is None else own
