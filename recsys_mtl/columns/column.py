"""`ColumnEncoder`: what the encoders of all columns have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import polars as pl

from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.state import FittedState


@dataclass
class ColumnEncoder(FittedState, ABC):
    """Base of features, labels and weights: `update` a chunk at a time, `finish`, then `encode`.

    Attributes:
        column: raw column.
    """

    column: str

    @abstractmethod
    def update(self, values: pl.Series, rows: Rows) -> None:
        """Learns from a chunk of training rows.

        Raises:
            UserError: the column has the wrong type or holds a value it may not hold.
        """

    @abstractmethod
    def finish(self) -> None:
        """Ends the fit.

        Raises:
            UserError: nothing can be learnt from the training rows.
        """
