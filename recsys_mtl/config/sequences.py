"""The sections of a sequence's encoder: one typed section an encoder."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from recsys_mtl.config.named import NamedUnion
from recsys_mtl.config.open_union import Members
from recsys_mtl.config.section import Fraction


class SequenceEncoderConfig(NamedUnion):
    """How a sequence becomes one vector; it is zero for an empty one."""

    members: ClassVar[Members] = {}
    needs_target: ClassVar[bool] = False
    """Whether it compares the entries with a candidate."""
    takes_target: ClassVar[bool] = True

    name: str

    def sizes(self, entry: int, query: int) -> tuple[int, int]:
        """Weights, at least, and outputs of an encoder.

        Args:
            entry: width of an entry, its attributes included.
            query: width of the candidate; 0: none.
        """
        return 0, entry


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
        [36], min_length=1, description="widths of the activation unit's hidden layers"
    )
    softmax: bool = Field(
        False, description="whether weights add up to 1; they do not in the paper"
    )

    def sizes(self, entry: int, query: int) -> tuple[int, int]:
        """Of the activation unit."""
        widths = [entry + 2 * query, *self.hidden, 1]
        return sum(a * b for a, b in pairwise(widths)), entry


class HeadsConfigBase(SequenceEncoderConfig):
    """What encoders with attention have."""

    dim: PositiveInt = Field(16, description="width; a multiple of the heads")
    heads: PositiveInt = Field(2, description="of attention")

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is no multiple of {self.heads} heads")
        return self

    def sizes(self, entry: int, query: int) -> tuple[int, int]:
        """Of keys, values, the query and what is made of the heads."""
        return (2 * entry + query + self.dim) * self.dim, self.dim


@SequenceEncoderConfig.register
class MhaEncoderConfig(HeadsConfigBase):
    """Pooling by multi-head attention; the query is learned, plus one made of the target."""

    name: Literal["mha"]


@SequenceEncoderConfig.register
class TransformerEncoderConfig(HeadsConfigBase):
    """Causal self-attention with positions (Kang & McAuley 2018, SASRec): the newest entry's state.

    With a target its product with the state is an input too.
    """

    name: Literal["transformer"]
    layers: PositiveInt = Field(2, description="blocks of attention")
    dropout: Fraction = Field(0.1, description="of the outputs of each block")

    def sizes(self, entry: int, query: int) -> tuple[int, int]:
        """Of the blocks and of what is in front of them."""
        weights = (entry + query + self.layers * 6 * self.dim) * self.dim
        return weights, self.dim * (2 if query else 1)
