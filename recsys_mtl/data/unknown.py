"""`UnknownDropout`: training batches in which some rare categories are read as unknown ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from recsys_mtl.columns.coder import UNKNOWN_ROW
from recsys_mtl.data.batch import Batch, moved
from recsys_mtl.data.loader import ChangedLoader, Loader
from recsys_mtl.features.block import TableBlock


class UnknownDropout(ChangedLoader):
    """A loader's batches, each value drawn anew: its own row or, with its rate, the unknown row.

    The unknown row is then trained, on contexts in which rare categories occur. Draws are from
    torch's global generator on the CPU, when a batch is taken: its state is part of a training's.

    Args:
        loader: of the training rows.
        rates: (rows,) of each table that has any, by feature; see `Vocabulary.unknown_rates`.
    """

    def __init__(self, loader: Loader, rates: Mapping[str, Tensor]) -> None:
        super().__init__(loader)
        self._rates = dict(rates)  # where the batches are

    def _changed(self, batch: Batch) -> Batch:
        blocks = {
            layout: block.replaced(self._drawn) if isinstance(block, TableBlock) else block
            for layout, block in batch.blocks.items()
        }
        return replace(batch, blocks=blocks)

    def _drawn(self, feature: str, rows: Tensor) -> Tensor:
        if feature not in self._rates:
            return rows
        rates = self._rates[feature] = moved(self._rates[feature], rows.device)
        draws = moved(torch.rand(rows.shape), rows.device)
        return rows.masked_fill(draws < rates[rows], UNKNOWN_ROW)
