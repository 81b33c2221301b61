"""Numeric features as columns of the experts' input: bins from a position on their axis.

Shapes: B rows, N encoded columns, W columns of the input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recsys_mtl.columns.spec import FeatureSpec
from recsys_mtl.columns.transforms import MAX_SD
from recsys_mtl.features.block import FeatureBlock, Numbers
from recsys_mtl.features.inputs import NumberColumns


@dataclass(frozen=True)
class NumericSpec(FeatureSpec):
    """A number after fitting.

    Attributes:
        bins: that its first column is a position on the axis of; 0: that column is an input itself.
    """

    bins: int = 0


class NumericColumns(NumberColumns):
    """The encoded columns, bins instead of a position on their axis.

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
        encoded, columns, start = self.width, list[tuple[int, float, float, float]](), 0
        widths = []
        for feature in features:
            bins = feature.bins if isinstance(feature, NumericSpec) else 0
            for t in range(bins):
                low, high = -MAX_SD if t == 0 else 0.0, MAX_SD if t == bins - 1 else 1.0
                columns.append((start, t, low, high))
            rest = range(start + (bins > 0), start + feature.width)
            columns += [(column, 0, -torch.inf, torch.inf) for column in rest]
            start += feature.width
            widths.append(bins + len(rest))
        self.widths = tuple(widths)
        self.expands = self.width > encoded
        source, *bounds = zip(*columns, strict=True)
        self.register_buffer("source", torch.tensor(source), persistent=False)
        for name, values in zip(("offset", "low", "high"), bounds, strict=True):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)

    def forward(self, blocks: Mapping[str, FeatureBlock]) -> Tensor:
        """The parts of a batch to (B, W) columns."""
        encoded = super().forward(blocks)
        if not self.expands:
            return encoded
        columns = encoded.index_select(1, self.source)
        return columns.sub_(self.offset).clamp_(self.low, self.high)
