"""The properties of sequences that the network needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from recsys_mtl.columns.spec import FeatureSpec
from recsys_mtl.columns.state import FittedState


@dataclass
class EncoderSettings(FittedState):
    """How a sequence becomes one vector.

    Attributes:
        name: of the encoder, see `recsys_mtl.model.sequences`.
        hidden: widths of the activation unit's layers (din).
        softmax: whether its weights add up to 1 (din).
        dim: width of the vector (mha, transformer).
        heads: of attention (mha, transformer).
        layers: blocks (transformer).
        dropout: share of each block's outputs (transformer).
    """

    kind: ClassVar[str] = "sequence_encoder"
    name: str = "mean"
    hidden: list[int] = field(default_factory=list)
    softmax: bool = False
    dim: int = 0
    heads: int = 1
    layers: int = 0
    dropout: float = 0.0


@dataclass(frozen=True)
class Attribute:
    """What goes with the entries of a sequence: the name of its feature, and its candidate's."""

    name: str
    target: str = ""


@dataclass(frozen=True)
class SequenceSpec(FeatureSpec):
    """A sequence after fitting.

    Attributes:
        encoder: of its entries.
        target: feature that entries are compared with; empty: none.
        ids: attributes that have tables.
        numbers: names of the attributes that are numbers.
    """

    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    target: str = ""
    ids: tuple[Attribute, ...] = ()
    numbers: tuple[str, ...] = ()
