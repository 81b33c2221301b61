"""The encoders of all sequences of a network.

Shapes: B rows, P width of the pooled embeddings, N entries of a sequence, D width of an entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recsys_mtl.columns.sequences import SequenceSpec
from recsys_mtl.columns.spec import DataSpec
from recsys_mtl.features.block import FeatureBlock, SequenceIds, SequenceNumbers
from recsys_mtl.model.sequences.din import DinEncoder
from recsys_mtl.model.sequences.encoder import EncoderShape, Entries, SequenceEncoder
from recsys_mtl.model.sequences.mean import MeanEncoder
from recsys_mtl.model.sequences.mha import MhaEncoder
from recsys_mtl.model.sequences.ragged import row_of_each
from recsys_mtl.model.sequences.transformer import TransformerEncoder

ENCODERS: dict[str, type[SequenceEncoder]] = {
    "mean": MeanEncoder,
    "din": DinEncoder,
    "mha": MhaEncoder,
    "transformer": TransformerEncoder,
}
"""Encoders by the name of their settings."""


@dataclass(frozen=True)
class _Sequence:
    """A sequence: names of its ids, those with a candidate first, of its numbers; its candidates.

    Attributes:
        targets: (first column, width) of each candidate among the pooled embeddings.
    """

    name: str
    ids: tuple[str, ...]
    numbers: tuple[str, ...]
    targets: tuple[tuple[int, int], ...]


class SequenceEncoders(nn.Module):
    """Every sequence to one vector a row.

    They are below the cut: like the tables, and in the same backward pass, they learn from the one
    gradient at their outputs.

    Args:
        data: the encoded features.

    Attributes:
        widths: of the vectors, in the order of the features.
    """

    def __init__(self, data: DataSpec) -> None:
        super().__init__()
        dims = {read.name: read.dim for read in data.reads}
        starts: dict[str, int] = {}
        width = 0
        for read in data.reads:
            if read.pooling != "none":
                starts[read.name] = width
                width += read.dim
        self._names = [read.name for read in data.reads if read.pooling == "none"]
        self._sequences: list[_Sequence] = []
        self.encoders = nn.ModuleList()
        for spec in data.features:
            if not isinstance(spec, SequenceSpec):
                continue
            ids = [(spec.name, spec.target), *((one.name, one.target) for one in spec.ids)]
            ids.sort(key=lambda pair: not pair[1])
            targets = tuple((starts[target], dims[target]) for _, target in ids if target)
            names = tuple(name for name, _ in ids)
            self._sequences.append(_Sequence(spec.name, names, spec.numbers, targets))
            dim = sum(dims[name] for name in names) + len(spec.numbers)
            query = sum(width for _, width in targets)
            shape = EncoderShape(spec.encoder, dim, query, spec.max_length)
            self.encoders.append(ENCODERS[spec.encoder.name](shape))
        self.widths = [encoder.width for encoder in self._each()]

    def _each(self) -> list[SequenceEncoder]:
        return [encoder for encoder in self.encoders if isinstance(encoder, SequenceEncoder)]

    @property
    def width(self) -> int:
        """Of all vectors together."""
        return sum(self.widths)

    def forward(
        self, pooled: Tensor, looked_up: Sequence[Tensor], blocks: Mapping[str, FeatureBlock]
    ) -> list[Tensor]:
        """(B, width) of each sequence.

        Args:
            pooled: (B, P) embeddings, candidates among them.
            looked_up: (N, D) of every feature that is not pooled, in the order of `DataSpec.reads`.
            blocks: of the batch.
        """
        vectors = dict(zip(self._names, looked_up, strict=True))
        outputs = []
        for sequence, encoder in zip(self._sequences, self._each(), strict=True):
            _, lengths = blocks[SequenceIds.layout][sequence.name]
            parts = [vectors[name] for name in sequence.ids]
            for name in sequence.numbers:
                numbers, _ = blocks[SequenceNumbers.layout][name]
                parts.append(numbers.unsqueeze(1))
            values = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
            candidates = [pooled.narrow(1, start, width) for start, width in sequence.targets]
            query = torch.cat(candidates, 1) if candidates else pooled[:, :0]
            row_of = row_of_each(lengths, values.shape[0])
            outputs.append(encoder(Entries(values, lengths, row_of, query)).float())
        return outputs
