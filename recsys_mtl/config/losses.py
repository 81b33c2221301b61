"""The sections of losses that a task may choose from: `loss: {name: focal, gamma: 2}`.

A name alone stands for the section with that name and defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    PositiveFloat,
    Tag,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue

from recsys_mtl.config.section import NonNegative, Section


class LossConfigBase(Section):
    """What every loss has."""

    tag: ClassVar[str] = "name"
    by_name: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {cls.tag: value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: Any, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        name = get_args(cls.model_fields[cls.tag].annotation)[0]
        return {"anyOf": [{"const": name}, handler(core)]}


class BceConfig(LossConfigBase):
    """Binary cross-entropy."""

    name: Literal["bce"] = "bce"


class FocalConfig(LossConfigBase):
    """Focal loss (Lin et al. 2017): rows that are predicted well count less."""

    name: Literal["focal"]
    gamma: NonNegative = Field(2.0, description="focusing parameter; 0 is weighted cross-entropy")
    alpha: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.25, description="weight of the positive class"
    )


class MseConfig(LossConfigBase):
    """Squared error of the transformed target."""

    name: Literal["mse"] = "mse"


class HuberConfig(LossConfigBase):
    """Huber loss of the transformed target: squared near 0, linear beyond."""

    name: Literal["huber"]
    delta: PositiveFloat = Field(1.0, description="threshold, on the transformed target")


def _name(value: Any) -> Any:
    """The name in what was written for a loss."""
    if isinstance(value, Mapping):
        return value.get("name")
    return value if isinstance(value, str) else getattr(value, "name", None)


BinaryLossConfig = Annotated[
    Annotated[BceConfig, Tag("bce")] | Annotated[FocalConfig, Tag("focal")],
    Discriminator(_name),
]
RegressionLossConfig = Annotated[
    Annotated[MseConfig, Tag("mse")] | Annotated[HuberConfig, Tag("huber")],
    Discriminator(_name),
]
