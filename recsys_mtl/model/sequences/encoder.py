"""`SequenceEncoder`: base of the encoders of sequences.

Shapes: B rows, N entries of all rows together, D width of an entry, Q width of the candidate.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from recsys_mtl.columns.sequences import EncoderSettings


@dataclass(frozen=True)
class EncoderShape:
    """What an encoder is made for.

    Attributes:
        settings: of the encoder.
        dim: D.
        query: Q; 0: there is no candidate. The first Q columns of an entry are of the same tables
            as the candidate's.
        max_length: entries of a row, at most.
    """

    settings: EncoderSettings
    dim: int
    query: int
    max_length: int


@dataclass(frozen=True)
class Entries:
    """The entries of the rows of a batch.

    Attributes:
        values: (N, D), the rows one after another, the oldest entry of each first.
        lengths: (B,).
        row_of: (N,) the row of each entry.
        query: (B, Q) the candidate.
    """

    values: Tensor
    lengths: Tensor
    row_of: Tensor
    query: Tensor

    @property
    def rows(self) -> int:
        """B."""
        return self.query.shape[0]

    def of_each(self, rows: Tensor) -> Tensor:
        """(B, …) of rows to (N, …) of their entries."""
        return rows.index_select(0, self.row_of)


class SequenceEncoder(nn.Module, ABC):
    """Entries of each row to one vector, zero for a row without any.

    Attributes:
        width: of the vector.
    """

    width: int

    @abstractmethod
    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, entries: Entries) -> Tensor:
        """(B, width) float32."""
