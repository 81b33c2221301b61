"""The sections of losses that a task may choose from: `loss: {name: focal, gamma: 2}`.

A name alone means the section with that name and defaults.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, PositiveFloat, Tag

from recsys_mtl.config.named import NamedConfig, name_of
from recsys_mtl.config.section import NonNegative


class BceConfig(NamedConfig):
    """Binary cross-entropy."""

    name: Literal["bce"] = "bce"


class FocalConfig(NamedConfig):
    """Focal loss (Lin et al. 2017): rows that are predicted well count less."""

    name: Literal["focal"]
    gamma: NonNegative = Field(2.0, description="focusing parameter; 0 is weighted cross-entropy")
    alpha: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.25, description="weight of the positive class"
    )


class MseConfig(NamedConfig):
    """Squared error of the transformed target."""

    name: Literal["mse"] = "mse"


class HuberConfig(NamedConfig):
    """Huber loss of the transformed target: squared near 0, linear beyond."""

    name: Literal["huber"]
    delta: PositiveFloat = Field(1.0, description="threshold, on the transformed target")


BinaryLossConfig = Annotated[
    Annotated[BceConfig, Tag("bce")] | Annotated[FocalConfig, Tag("focal")],
    Discriminator(name_of),
]
RegressionLossConfig = Annotated[
    Annotated[MseConfig, Tag("mse")] | Annotated[HuberConfig, Tag("huber")],
    Discriminator(name_of),
]
