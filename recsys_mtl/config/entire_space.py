"""The sections of counterfactual terms of tasks behind another one."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat

from recsys_mtl.config.named import NamedUnion
from recsys_mtl.config.open_union import Members


class CounterfactualConfig(NamedUnion):
    """A term that estimates the conditional loss on all rows from those on which it is observed."""

    members: ClassVar[Members] = {}
    name: str


@CounterfactualConfig.register
class NoCounterfactualConfig(CounterfactualConfig):
    """No term: the loss of the joint label alone."""

    name: Literal["none"] = "none"


class TermConfigBase(CounterfactualConfig):
    """What all terms have."""

    weight: PositiveFloat = Field(1.0, description="of the term in the task's loss")
    clip: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.01, description="least propensity: a row counts at most 1 / clip times"
    )


@CounterfactualConfig.register
class IpsConfig(TermConfigBase):
    """Inverse propensity scoring by the predicted probability of the task before."""

    name: Literal["ips"]


@CounterfactualConfig.register
class DrConfig(TermConfigBase):
    """Doubly robust: a tower of its own imputes the label where it is not observed."""

    name: Literal["dr"]
