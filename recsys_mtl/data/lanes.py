"""`LaneLoader`: shuffled rows that do not fit into memory.

The rows are cut into L lanes, ranges of equal length (the first ones may have one more). Row p of
an epoch's order is row p // L of lane p % L, so a batch takes the same number of rows from each.
Within a lane, blocks come in a random order, and every window of consecutive rows is permuted as a
whole. All of it follows from seed, epoch, lane and window: an epoch starts at any batch by reading
the one window of each lane that it lies in, and the order is the same for any number W of processes
that divides L, of which process r reads the lanes r, r + W and so on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import NamedTuple

import polars as pl
import torch
from torch import Tensor

from recsys_mtl.data.batch import Batch, concat
from recsys_mtl.data.loader import SharedBatches, before, generator, loading_threads
from recsys_mtl.data.prefetch import made_ahead
from recsys_mtl.errors import wrong

_BLOCKS = 0  # what a generator is for: the order of blocks, or 1 + the number of a window


@dataclass(frozen=True)
class BlockedRows:
    """Raw rows that can be read from the start of any block.

    Attributes:
        counts: rows of each block.
        read: reads a block, in frames of any size.
        encode: encodes a frame, also one without rows.
    """

    counts: Sequence[int]
    read: Callable[[int], Iterator[pl.DataFrame]]
    encode: Callable[[pl.DataFrame], Batch]


@dataclass(frozen=True)
class _Part:
    """Rows `first` to before `end` of a block."""

    block: int
    first: int
    end: int


class LaneLoader(SharedBatches):
    """Batches of shuffled rows that are encoded as they are read, in bounded memory.

    Threads read and encode one window of each lane ahead, so memory holds about twice the buffer.

    Args:
        rows: where they are.
        batch_size: rows per batch, of all processes.
        shuffle_buffer: rows of the windows of all lanes together; at least a complete batch.
        seed: decides the orders.
        lanes: L, of all processes.
        rank: this process.
        world: number of processes, a divisor of L.
        threads: None: see `loading_threads`; each has lanes of its own to read.
    """

    def __init__(
        self,
        rows: BlockedRows,
        *,
        batch_size: int,
        shuffle_buffer: int,
        seed: int,
        lanes: int = 8,
        rank: int = 0,
        world: int = 1,
        threads: int | None = None,
    ) -> None:
        super().__init__(sum(rows.counts), batch_size, rank, world)
        if lanes % world:
            raise ValueError(f"lanes: expected a multiple of world, {world}; found {lanes}")
        self._source, self._threads = rows, threads
        self._seed = seed
        step = math.lcm(batch_size, lanes)  # a window of all lanes has whole batches
        self._window = max(shuffle_buffer // step, 1) * step
        self._lanes = lanes
        self._own_lanes = range(rank, lanes, world)
        sizes = [before(self.num_rows, lane, lanes) for lane in range(lanes)]
        starts = [0, *accumulate(sizes)]
        self._parts = {lane: self._cut(*starts[lane : lane + 2]) for lane in self._own_lanes}

    @property
    def read_ratio(self) -> float:
        """Rows of an epoch that this process reads for each that it uses."""
        parts = [part for parts in self._parts.values() for part in parts]
        used = sum(part.end - part.first for part in parts)
        return sum(part.end for part in parts) / max(used, 1)

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """The batches of an epoch without the first `start_batch` ones.

        Of the skipped rows, those in the windows of the first batch are read. Closing the iterator
        ends the threads; an error of the source is raised here.

        Raises:
            UserError: a block has fewer rows than were counted.
        """
        if start_batch >= self.num_batches:
            return
        per_window = self._window // self._batch_size
        first = start_batch // per_window * per_window
        lanes = len(self._own_lanes)
        threads = min(self._threads or loading_threads(), lanes)
        sources = [self._windows(lane, epoch, first) for lane in self._own_lanes]
        made = made_ahead(sources, self._encoded, ahead=lanes, threads=threads)
        with closing(made) as windows:
            for opened in range(first, self.num_batches, per_window):
                rows, order = _dealt(list(islice(windows, lanes)))
                zero = self._before(self._rows(opened)[0])
                last = min(opened + per_window, self.num_batches)
                for batch in range(max(opened, start_batch), last):
                    start, end = map(self._before, self._rows(batch))
                    yield rows.select(order[start - zero : end - zero])
                del rows

    def _before(self, row: int) -> int:
        """How many of the rows before this one belong to this process."""
        return before(row, self._rank, self._world)

    def _windows(
        self, lane: int, epoch: int, batch: int
    ) -> Iterator[tuple[pl.DataFrame, tuple[int, ...]]]:
        """The windows of a lane from that batch on, and the keys of their orders."""
        first = batch * self._batch_size // self._lanes
        size = self._window // self._lanes
        frames = _joined(self._frames(lane, epoch, first), size)
        none: pl.DataFrame | None = None
        for number in range(first // size, math.ceil(self.num_rows / self._window)):
            frame = next(frames, None)
            if frame is None:
                frame = self._no_rows() if none is None else none
            none = frame.clear()
            yield frame, (self._seed, epoch, lane, 1 + number)

    def _encoded(self, window: tuple[pl.DataFrame, tuple[int, ...]]) -> _Window:
        frame, key = window
        order = torch.randperm(frame.height, generator=generator(*key))
        return _Window(self._source.encode(frame), order)

    def _frames(self, lane: int, epoch: int, first: int) -> Iterator[pl.DataFrame]:
        """The rows of a lane in the epoch's order of blocks, from row `first` on."""
        parts = self._parts[lane]
        key = (self._seed, epoch, lane, _BLOCKS)
        for index in torch.randperm(len(parts), generator=generator(*key)).tolist():
            part = parts[index]
            rows = part.end - part.first
            if first < rows:
                yield from self._read(part, part.first + first)
            first = max(first - rows, 0)

    def _read(self, part: _Part, first: int) -> Iterator[pl.DataFrame]:
        """The rows of a part from the block's row `first` on."""
        row = 0
        for frame in self._source.read(part.block):
            start, row = row, row + frame.height
            if row > first:
                late = max(first - start, 0)
                yield frame.slice(late, min(row, part.end) - start - late)
            if row >= part.end:
                return
        raise wrong(
            "the data changed while they were read",
            where="data.path",
            expected=f"{part.end} training rows or more in block {part.block}, as when counted",
            found=row,
            fix="train on files that nobody writes meanwhile",
        )

    def _no_rows(self) -> pl.DataFrame:
        """A frame without rows."""
        block = next(block for block, count in enumerate(self._source.counts) if count)
        return next(self._source.read(block)).clear()

    def _cut(self, start: int, end: int) -> list[_Part]:
        """The parts of blocks that rows `start` to before `end` lie in."""
        parts, zero = [], 0
        for block, count in enumerate(self._source.counts):
            first, last = max(start - zero, 0), min(end - zero, count)
            if first < last:
                parts.append(_Part(block, first, last))
            zero += count
        return parts


class _Window(NamedTuple):
    """Rows and the order that they are taken in."""

    rows: Batch
    order: Tensor


def _dealt(windows: list[_Window]) -> _Window:
    """Windows of M lanes as one: its row q is row q // M of window q % M."""
    first = accumulate((len(order) for _, order in windows), initial=0)
    orders = [order + start for (_, order), start in zip(windows, first, strict=False)]
    turns = [torch.arange(len(order)) * len(orders) + j for j, order in enumerate(orders)]
    order = torch.cat(orders)[torch.cat(turns).argsort()]
    return _Window(concat([rows for rows, _ in windows]), order)


def _joined(frames: Iterator[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """The same rows in frames of so many rows; the last one may be smaller."""
    held: list[pl.DataFrame] = []
    missing = rows
    for frame in frames:
        used = 0
        while frame.height - used >= missing:
            held.append(frame.slice(used, missing))
            yield pl.concat(held, how="vertical_relaxed")
            used, held, missing = used + missing, [], rows
        if used < frame.height:
            held.append(frame.slice(used))
            missing -= frame.height - used
    if held:
        yield pl.concat(held, how="vertical_relaxed")
