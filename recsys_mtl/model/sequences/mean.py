"""The mean of the entries."""

from __future__ import annotations

from torch import Tensor

from recsys_mtl.model.sequences.encoder import EncoderShape, Entries, SequenceEncoder
from recsys_mtl.model.sequences.ragged import sums


class MeanEncoder(SequenceEncoder):
    """The mean of the entries, attributes included."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__(shape)
        self.width = shape.dim

    def forward(self, entries: Entries) -> Tensor:
        """(B, D)."""
        total = sums(entries.values, entries.row_of, entries.rows)
        return total / entries.lengths.clamp_min(1).unsqueeze(1)
