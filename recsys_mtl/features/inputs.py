"""From the parts of a batch to columns of the experts' input, above the cut.

Pooled embeddings are input columns; a kind of feature adds other columns by an `InputModule`.
Shapes: B rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from recsys_mtl.columns.spec import FeatureSpec
from recsys_mtl.features.block import Columns, FeatureBlock


class InputModule(nn.Module, ABC):
    """All features of one kind as columns; its parameters are shared by all tasks.

    Attributes:
        widths: number of columns of each feature.
        layouts: blocks of a batch that it reads.
    """

    widths: tuple[int, ...]
    layouts: tuple[str, ...]

    @property
    def width(self) -> int:
        """Number of columns."""
        return sum(self.widths)

    @abstractmethod
    def forward(self, blocks: Mapping[str, FeatureBlock]) -> Tensor:
        """The parts of a batch to (B, width) columns."""


class NumberColumns(InputModule):
    """The columns of numbers in a batch, without any layer.

    Args:
        features: in the order of the batch.
        block: that holds them.
    """

    def __init__(self, features: Sequence[FeatureSpec], block: type[Columns]) -> None:
        super().__init__()
        self.widths = tuple(feature.width for feature in features)
        self.layouts = (block.layout,)
        self._names = tuple(feature.name for feature in features)

    def forward(self, blocks: Mapping[str, FeatureBlock]) -> Tensor:
        """The parts of a batch to (B, width) columns."""
        (layout,) = self.layouts
        block = blocks[layout]
        assert isinstance(block, Columns)
        return block.columns(self._names)
