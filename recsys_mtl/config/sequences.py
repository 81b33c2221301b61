"""The sections of a sequence's encoder: one typed section an encoder."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from recsys_mtl.config.named import NamedUnion
from recsys_mtl.config.open_union import Members


class SequenceEncoderConfig(NamedUnion):
    """How a sequence becomes one vector; it is zero for an empty one."""

    members: ClassVar[Members] = {}
    needs_target: ClassVar[bool] = False
    """Whether it compares the entries with a candidate."""
    takes_target: ClassVar[bool] = True

    name: str

    def weights(self, dim: int) -> int:
        """Weights, at least, of an encoder of entries of that width."""
        return 0


@SequenceEncoderConfig.register
class MeanEncoderConfig(SequenceEncoderConfig):
    """The mean of the entries."""

    takes_target: ClassVar[bool] = False

    name: Literal["mean"]


@SequenceEncoderConfig.register
class DinEncoderConfig(SequenceEncoderConfig):
    """Target attention (Zhou et al. 2018, DIN): entries weighed by their fit to the candidate."""

    needs_target: ClassVar[bool] = True

    name: Literal["din"]
    hidden: list[PositiveInt] = Field(
        [64, 16], min_length=1, description="widths of the activation unit's hidden layers"
    )
    softmax: bool = Field(
        False, description="whether weights add up to 1; they do not in the paper"
    )

    def weights(self, dim: int) -> int:
        """Of the activation unit."""
        return sum(a * b for a, b in zip([3 * dim, *self.hidden], self.hidden, strict=False))
