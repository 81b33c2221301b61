"""Loaders: encoded rows in batches, the same order for the same seed and epoch.

A loader has no position of its own: `epoch(epoch, start_batch)` gives any epoch from any batch on,
which lets the trainer resume exactly.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from recsys_mtl.data.batch import Batch, concat
from recsys_mtl.data.prefetch import prefetched


class Loader(Protocol):
    """Rows in batches; the last one may be smaller, none is empty."""

    @property
    def num_rows(self) -> int:
        """Rows of an epoch."""

    @property
    def num_batches(self) -> int:
        """Batches of an epoch."""

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """The batches of an epoch without the first `start_batch` ones."""


class ChangedLoader(ABC):
    """The batches of another loader, each with a change.

    Args:
        loader: the other one.
    """

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    @property
    def num_rows(self) -> int:
        """Rows of an epoch."""
        return self._loader.num_rows

    @property
    def num_batches(self) -> int:
        """Batches of an epoch."""
        return self._loader.num_batches

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """The batches of an epoch without the first `start_batch` ones."""
        return map(self._changed, self._loader.epoch(epoch, start_batch))

    @abstractmethod
    def _changed(self, batch: Batch) -> Batch:
        """The batch with the change."""


class MemoryLoader:
    """Batches of encoded rows held in memory.

    Args:
        rows: all rows.
        batch_size: rows per batch.
        shuffle: whether each epoch has a random order of its own.
        seed: decides the orders.
    """

    def __init__(self, rows: Batch, *, batch_size: int, shuffle: bool, seed: int) -> None:
        self._rows = rows
        self._batch_size = batch_size
        self._shuffle = shuffle
        self._seed = seed

    @property
    def num_rows(self) -> int:
        """Rows of an epoch."""
        return self._rows.num_rows

    @property
    def num_batches(self) -> int:
        """Batches of an epoch."""
        return math.ceil(self.num_rows / self._batch_size)

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """The batches of an epoch without the first `start_batch` ones."""
        if self._shuffle:
            order = torch.randperm(self.num_rows, generator=_generator(self._seed, epoch))
        else:
            order = torch.arange(self.num_rows)
        for rows in _cut(order, self._batch_size)[start_batch:]:
            yield self._rows.select(rows)


class StreamLoader:
    """Batches of rows that are encoded as they are read, in bounded memory.

    Shuffling fills a buffer, emits a random half of it, refills it and so on: rows travel any
    distance forwards, and memory stays below about twice the buffer. The order depends on seed and
    epoch but not on how the source is cut. The source is read and encoded in a thread, at most two
    chunks ahead.

    Args:
        make_batches: starts a new pass over the rows; chunks of any size.
        num_rows: rows of a pass.
        batch_size: rows per batch.
        shuffle_buffer: rows shuffled together, at least two batches; 0 keeps the source's order.
        seed: decides the orders.
    """

    def __init__(
        self,
        make_batches: Callable[[], Iterator[Batch]],
        *,
        num_rows: int,
        batch_size: int,
        shuffle_buffer: int,
        seed: int,
    ) -> None:
        self._make_batches = make_batches
        self._num_rows = num_rows
        self._batch_size = batch_size
        self._buffer = max(shuffle_buffer, 2 * batch_size) if shuffle_buffer else 0
        self._seed = seed

    @property
    def num_rows(self) -> int:
        """Rows of an epoch."""
        return self._num_rows

    @property
    def num_batches(self) -> int:
        """Batches of an epoch."""
        return math.ceil(self._num_rows / self._batch_size)

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """The batches of an epoch without the first `start_batch` ones.

        The skipped rows are still read. Closing the iterator ends the thread; an error of the
        source is raised here.
        """
        with closing(prefetched(self._make_batches())) as chunks:
            reader = _Reader(chunks)
            if self._buffer:
                yield from self._shuffled(reader, _generator(self._seed, epoch), start_batch)
            else:
                yield from self._in_order(reader, start_batch)

    def _in_order(self, reader: _Reader, skip: int) -> Iterator[Batch]:
        while pieces := reader.take(self._batch_size):
            if skip:
                skip -= 1
            else:
                yield concat(pieces)

    def _shuffled(self, reader: _Reader, generator: torch.Generator, skip: int) -> Iterator[Batch]:
        size = self._batch_size
        emitted = self._buffer // 2 // size * size
        pieces = reader.take(self._buffer)
        while pieces:
            buffer = concat(pieces)
            del pieces
            order = torch.randperm(buffer.num_rows, generator=generator)
            last = buffer.num_rows < self._buffer
            for rows in _cut(order if last else order[:emitted], size):
                if skip:
                    skip -= 1
                else:
                    yield buffer.select(rows)
            kept = [] if last else [buffer.select(order[emitted:])]
            del buffer
            pieces = kept + reader.take(emitted) if kept else []
            del kept


class _Reader:
    """Takes exact numbers of rows from chunks of any size."""

    def __init__(self, chunks: Iterator[Batch]) -> None:
        self._chunks = chunks
        self._chunk: Batch | None = None
        self._used = 0

    def take(self, count: int) -> list[Batch]:
        """The next `count` rows in pieces; fewer at the end, none after it."""
        pieces = []
        while count:
            if self._chunk is None:
                self._chunk, self._used = next(self._chunks, None), 0
            if self._chunk is None:
                break
            end = min(self._used + count, self._chunk.num_rows)
            count -= end - self._used
            if end > self._used:
                pieces.append(self._chunk.select(torch.arange(self._used, end)))
            self._used = end
            if end == self._chunk.num_rows:
                self._chunk = None
        return pieces


def _generator(seed: int, epoch: int) -> torch.Generator:
    """A generator of its own for each seed and epoch."""
    state = np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def _cut(order: Tensor, size: int) -> list[Tensor]:
    """`order` in pieces of `size`, the last one shorter, none empty."""
    return [order[start : start + size] for start in range(0, len(order), size)]
