"""`DenseFeature`: base of the kinds whose rows are columns of numbers.

Shapes: B rows.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys_mtl.columns.bins import Bins, NumberBins
from recsys_mtl.columns.spec import FeatureSpec
from recsys_mtl.features.block import FeatureBlock, Numbers
from recsys_mtl.features.feature import Feature, TreeColumn
from recsys_mtl.features.inputs import InputModule, NumberColumns


@dataclass
class DenseFeature(Feature):
    """Finite float32 numbers that enter the experts as they are."""

    block: ClassVar[type[FeatureBlock]] = Numbers

    @property
    @abstractmethod
    def width(self) -> int:
        """Number of encoded columns."""

    @property
    def spec(self) -> FeatureSpec:
        """Columns of numbers."""
        return FeatureSpec(self.name, self.kind, self.width)

    def bins_of(self, what: str, observed: NDArray[Any]) -> Bins:
        """Quantile bins."""
        return NumberBins.of(observed)

    @classmethod
    def inputs(cls, features: Sequence[FeatureSpec]) -> InputModule:
        """The encoded columns."""
        return NumberColumns(features, Numbers)

    @classmethod
    def tree_columns(cls, feature: FeatureSpec, part: Tensor) -> list[TreeColumn]:
        """The encoded columns."""
        return [TreeColumn(column) for column in part.numpy(force=True).T]

    @classmethod
    def random_part(
        cls, feature: FeatureSpec, rows: int, longest: int, generator: torch.Generator
    ) -> NDArray[Any]:
        """(B, width) normal numbers."""
        return torch.randn(rows, feature.width, generator=generator).numpy()
