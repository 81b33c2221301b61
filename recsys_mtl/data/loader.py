"""Loaders: encoded rows in batches, the same order for the same seed and epoch.

A loader has no position of its own: `epoch(epoch, start_batch)` gives any epoch from any batch on,
which lets the trainer resume exactly. Nor does the order depend on the number of processes: of each
batch, the loader of process `rank` out of `world` gives every `world`-th row. `StreamLoader` keeps
the order of the files; `recsys_mtl.data.lanes` shuffles what does not fit into memory.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from recsys_mtl.data.batch import Batch, concat
from recsys_mtl.data.prefetch import made_ahead

_MOST_THREADS = 4


class Loader(Protocol):
    """Rows in batches; the last one may be smaller, none is empty.

    Where several processes share the batches, each has the same number of them; its share of the
    last one may be empty.
    """

    @property
    def num_rows(self) -> int:
        """Rows of an epoch, of all processes."""

    @property
    def num_batches(self) -> int:
        """Batches of an epoch."""

    def shares(self, batch: int) -> list[int]:
        """Rows of a batch on each process."""

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

    def shares(self, batch: int) -> list[int]:
        """Rows of a batch on each process."""
        return self._loader.shares(batch)

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """The batches of an epoch without the first `start_batch` ones."""
        return map(self._changed, self._loader.epoch(epoch, start_batch))

    @abstractmethod
    def _changed(self, batch: Batch) -> Batch:
        """The batch with the change."""


class SharedBatches:
    """The sizes of batches whose rows processes share in turn; known before any row is read.

    Row p of an epoch's order belongs to batch p // batch_size and to process p % world.

    Args:
        num_rows: of an epoch, of all processes.
        batch_size: rows per batch, of all processes.
        rank: this process.
        world: number of processes.
    """

    def __init__(self, num_rows: int, batch_size: int, rank: int, world: int) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"rank: expected 0 to {world - 1}, as world is {world}; found {rank}")
        self._num_rows, self._batch_size = num_rows, batch_size
        self._rank, self._world = rank, world

    @property
    def num_rows(self) -> int:
        """Rows of an epoch, of all processes."""
        return self._num_rows

    @property
    def num_batches(self) -> int:
        """Batches of an epoch."""
        return math.ceil(self._num_rows / self._batch_size)

    def shares(self, batch: int) -> list[int]:
        """Rows of a batch on each process."""
        start, end = self._rows(batch)
        ranks = range(self._world)
        return [before(end, rank, self._world) - before(start, rank, self._world) for rank in ranks]

    def _rows(self, batch: int) -> tuple[int, int]:
        """The first row of a batch, and that of the next one."""
        start = batch * self._batch_size
        return min(start, self._num_rows), min(start + self._batch_size, self._num_rows)

    def _own(self, start: int) -> slice:
        """This process' rows among those from `start` on."""
        return slice((self._rank - start) % self._world, None, self._world)


class MemoryLoader(SharedBatches):
    """Batches of encoded rows held in memory.

    Args:
        rows: all rows; an attribute too.
        batch_size: rows per batch, of all processes.
        shuffle: whether each epoch has a random order of its own.
        seed: decides the orders.
        rank: this process.
        world: number of processes.
    """

    def __init__(
        self,
        rows: Batch,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__(rows.num_rows, batch_size, rank, world)
        self.rows = rows
        self._shuffle = shuffle
        self._seed = seed

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """The batches of an epoch without the first `start_batch` ones."""
        order = self.order(epoch)
        for batch in range(start_batch, self.num_batches):
            yield self.rows.select(order[self.own(batch)])

    def order(self, epoch: int) -> Tensor:
        """(rows,) int64 order of an epoch."""
        if self._shuffle:
            return torch.randperm(self.num_rows, generator=generator(self._seed, epoch))
        return torch.arange(self.num_rows)

    def own(self, batch: int) -> slice:
        """This process' rows of a batch, in an epoch's order."""
        start, end = self._rows(batch)
        return slice(start + self._own(start).start, end, self._world)


class StreamLoader(SharedBatches):
    """Batches of rows in their order, encoded as they are read, in bounded memory.

    A thread reads the chunks, and several encode them, at most one more than threads ahead; every
    process does.

    Args:
        make_chunks: starts a new pass over the rows; chunks of any size.
        num_rows: rows of a pass.
        batch_size: rows per batch, of all processes.
        rank: this process.
        world: number of processes.
        encode: a chunk, in any thread; None: the chunks are encoded.
        threads: None: see `loading_threads`.
    """

    def __init__(
        self,
        make_chunks: Callable[[], Iterator[Any]],
        *,
        num_rows: int,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        encode: Callable[[Any], Batch] | None = None,
        threads: int | None = None,
    ) -> None:
        super().__init__(num_rows, batch_size, rank, world)
        self._make_chunks, self._threads = make_chunks, threads
        self._encode = encode or (lambda batch: batch)

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """The batches of an epoch without the first `start_batch` ones.

        The skipped rows are still read. Closing the iterator ends the threads; an error of the
        source is raised here.
        """
        threads = self._threads or loading_threads()
        made = made_ahead([self._make_chunks()], self._encode, ahead=threads + 1, threads=threads)
        with closing(made) as chunks:
            reader = _Reader(chunks)
            start = 0
            while pieces := reader.take(self._batch_size):
                if start >= start_batch * self._batch_size:
                    together = concat(pieces)
                    own = torch.arange(together.num_rows)[self._own(start)]
                    yield together if self._world == 1 else together.select(own)
                start += self._batch_size


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


def loading_threads(asked: int | None = None) -> int:
    """As many as asked for, or as torch has (`OMP_NUM_THREADS`, or the cores); at most 4.

    More of them than the network's steps can use only hold memory.

    Args:
        asked: `training.threads`, where torch does not have as many yet.
    """
    return min(asked or torch.get_num_threads(), _MOST_THREADS)


def before(row: int, rank: int, world: int) -> int:
    """How many of the rows before this one belong to a process."""
    return (row - rank + world - 1) // world


def generator(*key: int) -> torch.Generator:
    """A generator of its own for each seed, epoch and so on; keys are of one length."""
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))
