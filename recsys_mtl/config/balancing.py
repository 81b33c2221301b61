"""The section `balancing`: how task losses are weighed, on top of the fixed task weights."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, model_validator

from recsys_mtl.config.open_union import Members, OpenUnion
from recsys_mtl.config.section import NonNegative


class BalancingConfig(OpenUnion):
    """One of the registered methods."""

    members: ClassVar[Members] = {}
    tag: ClassVar[str] = "name"

    name: str


@BalancingConfig.register
class PlainBalancingConfig(BalancingConfig):
    """How task losses are weighed, on top of the task weights; `fixed` is those weights alone."""

    name: Literal["fixed", "uncertainty", "dwa", "famo", "imtl_l", "stch"] = "fixed"

    @model_validator(mode="before")
    @classmethod
    def _without_gradnorm_s_defaults(cls, data: Any) -> Any:
        """Configs dumped by 0.1.0's first versions spell them out under every name."""
        if not isinstance(data, dict):
            return data
        fields = GradNormConfig.model_fields
        idle = {key for key in ("alpha", "learning_rate") if data.get(key) == fields[key].default}
        return {key: value for key, value in data.items() if key not in idle}


@BalancingConfig.register
class GradNormConfig(BalancingConfig):
    """GradNorm: weights of the losses that make all tasks train at a like pace."""

    name: Literal["gradnorm"]
    alpha: NonNegative = Field(1.5, description="how hard tasks that lag behind are pulled")
    learning_rate: PositiveFloat = Field(0.025, description="of the weights")
