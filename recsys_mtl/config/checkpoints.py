"""The section `training.checkpoints`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from recsys_mtl.config.section import Section


class CheckpointsConfig(Section):
    """Checkpoints of a training, which the same command resumes after a kill."""

    every: PositiveFloat | None = Field(
        10.0, description="so many of `unit` between two checkpoints; null: none are written"
    )
    unit: Literal["minutes", "steps", "epochs"] = Field("minutes", description="of `every`")
    keep: PositiveInt = Field(
        2, description="newest ones that are kept, and with them the first after the best epoch"
    )
    after_end: Literal["delete", "keep"] = Field(
        "delete", description="of the checkpoints, when the run has ended by itself"
    )
