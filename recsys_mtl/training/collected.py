"""The rows of an evaluation, batch by batch into one array a column, on the first process.

Shapes: R rows of the set, B rows of a batch, b those of this process, W processes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recsys_mtl import parallel
from recsys_mtl.data.loader import Loader
from recsys_mtl.memory import spacious

Column = NDArray[Any]


class CollectedRows:
    """Columns of all rows, in the order of the loader and without a second copy of them.

    A column above a GiB, the predictions of many classes, is in a temporary file; see `spacious`.
    Where processes share the batches, the first one gets the rows of all, and the others keep none.

    Args:
        loader: its batches are added from the first one on.
    """

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._batch = self._filled = 0
        self._columns: dict[str, Column] = {}

    @property
    def columns(self) -> dict[str, Column]:
        """(R, …) by name; none in the other processes."""
        return {name: rows[: self._filled] for name, rows in self._columns.items()}

    def add(self, columns: Mapping[str, Column]) -> None:
        """Take the next batch: (b, …) rows of this process by name; a collective if it is shared.

        Args:
            columns: of the same names, types and shapes of a row each time, in every process.
        """
        shares = self._loader.shares(self._batch)
        parts = columns if len(shares) == 1 else self._of_all(columns, shares)
        for name, part in parts.items():
            if name not in self._columns:
                shape = self._loader.num_rows, *part.shape[1:]
                self._columns[name] = spacious(shape, part.dtype)
            self._columns[name][self._filled : self._filled + len(part)] = part
        self._batch += 1
        self._filled += sum(shares)

    def _of_all(self, columns: Mapping[str, Column], shares: Sequence[int]) -> dict[str, Column]:
        """(B, …) rows of all processes by name, in the first one; else none."""
        own = [_bytes(rows) for rows in columns.values()]
        widths = [part.shape[1] for part in own]
        padded = np.zeros((max(shares), sum(widths)), np.uint8)
        padded[: len(own[0])] = np.concatenate(own, 1)
        parts = parallel.to_first(torch.from_numpy(padded))
        if not parts:
            return {}
        turn = self._filled % len(shares)  # whose row the batch starts with
        in_turn = torch.stack([*parts[turn:], *parts[:turn]], 1).flatten(0, 1)
        rows = in_turn[: sum(shares)].numpy()
        pieces = np.split(rows, np.cumsum(widths)[:-1], 1)
        return {
            name: np.ascontiguousarray(piece).view(column.dtype).reshape(-1, *column.shape[1:])
            for (name, column), piece in zip(columns.items(), pieces, strict=True)
        }


def _bytes(rows: Column) -> NDArray[np.uint8]:
    """(B, width) of (B, …) rows."""
    flat = rows.reshape(len(rows), math.prod(rows.shape[1:]))
    return np.ascontiguousarray(flat).view(np.uint8)
