"""The sections of losses that a task may choose from: `loss: {name: focal, gamma: 2}`.

A name alone means the section with that name and defaults.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat

from recsys_mtl.config.named import NamedUnion
from recsys_mtl.config.open_union import Members
from recsys_mtl.config.section import NonNegative


class BinaryLossConfig(NamedUnion):
    """A loss of logits and labels 0 and 1."""

    members: ClassVar[Members] = {}
    name: str


class RegressionLossConfig(NamedUnion):
    """A loss of transformed targets."""

    members: ClassVar[Members] = {}
    name: str


@BinaryLossConfig.register
class BceConfig(BinaryLossConfig):
    """Binary cross-entropy."""

    name: Literal["bce"] = "bce"
    positive_weight: PositiveFloat = Field(
        1.0, description="weight of the positive class; other than 1 it moves the calibration"
    )


@BinaryLossConfig.register
class FocalConfig(BinaryLossConfig):
    """Focal loss (Lin et al. 2017): rows that are predicted well count less."""

    name: Literal["focal"]
    gamma: NonNegative = Field(2.0, description="focusing parameter; 0 is weighted cross-entropy")
    alpha: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.25, description="weight of the positive class"
    )


@RegressionLossConfig.register
class MseConfig(RegressionLossConfig):
    """Squared error of the transformed target."""

    name: Literal["mse"] = "mse"


@RegressionLossConfig.register
class HuberConfig(RegressionLossConfig):
    """Huber loss of the transformed target: squared near 0, linear beyond."""

    name: Literal["huber"]
    delta: PositiveFloat = Field(1.0, description="threshold, on the transformed target")
