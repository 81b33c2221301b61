"""Numeric features as columns of the experts' input: bins from a position on their axis.

Shapes: B rows, W columns of the input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recsys_mtl.columns.spec import FeatureSpec
from recsys_mtl.columns.transforms import MAX_SD
from recsys_mtl.features.block import FeatureBlock, Numbers
from recsys_mtl.features.inputs import NumberColumns
from recsys_mtl.features.number_embedding import EmbeddingSettings, NumberEmbedding

_Column = tuple[int, float, float, float]
"""Index of an encoded column, what is taken off it, and the bounds that it is clipped to."""
_INFINITE = float("inf")


@dataclass(frozen=True)
class NumericSpec(FeatureSpec):
    """A number after fitting.

    Attributes:
        bins: that its first column is a position on the axis of; 0: that column is an input itself.
        embedding: what its columns go through; None: nothing.
    """

    bins: int = 0
    embedding: EmbeddingSettings | None = None


class NumericColumns(NumberColumns):
    """The encoded columns, bins instead of a position on their axis, then those of embeddings.

    The piecewise-linear encoding of Gorishniy et al. 2022, "On Embeddings for Numerical Features in
    Tabular Deep Learning", equation 1: column t of a number is 0 below bin t, 1 above it and linear
    between, but the first bin extends below and the last above. With the position u on the axis of
    bins, `columns.transforms.piecewise_coordinate`, it is u − t within those bounds.

    Args:
        features: in the order of the batch.
    """

    source: Tensor
    offset: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, features: Sequence[FeatureSpec]) -> None:
        super().__init__(features, Numbers)
        groups: dict[EmbeddingSettings | None, list[list[_Column]]] = {None: []}
        for feature, columns in zip(features, _columns(features), strict=True):
            settings = feature.embedding if isinstance(feature, NumericSpec) else None
            groups.setdefault(settings, []).append(columns)
        plain = groups.pop(None)
        widths = [len(columns) for columns in plain]
        every = [column for columns in plain for column in columns]
        self.embeddings = nn.ModuleList()
        self.parts = [len(every)]
        for settings, numbers in groups.items():
            assert settings is not None
            embedding = NumberEmbedding(settings, [len(columns) for columns in numbers])
            for columns in numbers:
                nothing = [(columns[0][0], 0.0, 0.0, 0.0)] * (embedding.columns - len(columns))
                every += columns + nothing
            self.embeddings.append(embedding)
            self.parts.append(len(numbers) * embedding.columns)
            widths += [settings.dim] * len(numbers)
        self.changes = bool(groups) or len(every) > self.width
        self.widths = tuple(widths)
        source, *bounds = zip(*every, strict=True)
        self.register_buffer("source", torch.tensor(source), persistent=False)
        for name, values in zip(("offset", "low", "high"), bounds, strict=True):
            self.register_buffer(name, torch.tensor(values), persistent=False)

    def forward(self, blocks: Mapping[str, FeatureBlock]) -> Tensor:
        """The parts of a batch to (B, W) columns."""
        encoded = super().forward(blocks)
        if not self.changes:
            return encoded
        columns = encoded.index_select(1, self.source)
        columns.sub_(self.offset).clamp_(self.low, self.high)
        if not len(self.embeddings):
            return columns
        plain, *embedded = columns.split_with_sizes(self.parts, 1)
        for index, embedding in enumerate(self.embeddings):
            embedded[index] = embedding(embedded[index])
        return torch.cat([plain, *embedded], 1)


def _columns(features: Sequence[FeatureSpec]) -> Iterator[list[_Column]]:
    """The columns of each feature."""
    start = 0
    for feature in features:
        bins = feature.bins if isinstance(feature, NumericSpec) else 0
        of_bins = [(start, float(t), 0.0, 1.0) for t in range(bins)]
        if bins:
            of_bins[0] = (start, 0.0, -MAX_SD, of_bins[0][3])
            of_bins[-1] = (*of_bins[-1][:3], MAX_SD)
        others = range(start + (bins > 0), start + feature.width)
        yield of_bins + [(column, 0.0, -_INFINITE, _INFINITE) for column in others]
        start += feature.width
