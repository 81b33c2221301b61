"""Training rows on a device: all held there, or each batch copied while others are computed.

Both give the very batches of the loader that they take, in its order, and have no state: a training
resumes from any batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import torch
from torch import Tensor

from recsys_mtl.data.batch import Batch, moved, pinned
from recsys_mtl.data.loader import ChangedLoader, Loader, MemoryLoader
from recsys_mtl.data.prefetch import made_ahead
from recsys_mtl.features.block import Ragged


class HeldLoader(ChangedLoader):
    """The batches of a `MemoryLoader`, selected on a device that holds all rows.

    An epoch's order is moved once; a batch then takes some operations there, and waits for none:
    how many entries its lists have is counted on the host, which keeps the lengths.

    Args:
        loader: of rows on the host.
        device: of the batches.
    """

    def __init__(self, loader: MemoryLoader, device: torch.device) -> None:
        super().__init__(loader)
        self._host, self._device = loader, device
        self._rows = loader.rows.changed(lambda tensor: tensor.to(device))
        self._lengths = {
            layout: block.lengths
            for layout, block in loader.rows.blocks.items()
            if isinstance(block, Ragged)
        }

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """The batches of an epoch without the first `start_batch` ones."""
        order = self._host.order(epoch)
        there = moved(order, self._device)
        for batch in range(start_batch, self.num_batches):
            own = self._host.own(batch)
            totals = {layout: _totals(n, order[own]) for layout, n in self._lengths.items()}
            yield self._rows.gather(order[own], there[own], totals)

    def _changed(self, batch: Batch) -> Batch:
        return batch


class CopiedLoader(ChangedLoader):
    """The batches of another loader on a CUDA device.

    A thread makes the next ones in pinned memory. Each is copied in a second stream, so the copy
    waits for no work of the device, and only later work waits for the copy.

    Args:
        loader: of batches on the host.
        device: of the batches.
    """

    def __init__(self, loader: Loader, device: torch.device) -> None:
        super().__init__(loader)
        self._device = device
        self._copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """The batches of an epoch without the first `start_batch` ones."""
        batches = self._loader.epoch(epoch, start_batch)
        with closing(made_ahead([batches], _pinned, ahead=2, threads=1)) as made:
            yield from map(self._changed, made)

    def _changed(self, batch: Batch) -> Batch:
        with torch.cuda.stream(self._copies):
            there = batch.to(self._device)
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._copies)
        for tensor in there.tensors():  # its memory is not given away before that work is done
            tensor.record_stream(current)
        return there


def _pinned(batch: Batch) -> Batch:
    return batch.changed(pinned)


def _totals(lengths: Tensor, rows: Tensor) -> list[int]:
    """Entries of each list in the given rows together."""
    totals: list[int] = lengths[rows].sum(0).tolist()
    return totals
