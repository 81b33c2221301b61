"""The opposite of a yes/no label: it has no own score."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from data_synth.targets.binary import BinaryTarget
from recsys_mtl.config.section import Section


class Complement(Section):
    """The opposite of a binary task's event: label 1 - label, logit times -1."""

    kind: Literal["complement"]
    of: str = Field(description="the binary task")
    labelled: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        1.0, description="share of the rows that carry the label, at random"
    )

    def trained(self) -> dict[str, object]:
        """The task's section in a training's config."""
        return {"kind": BinaryTarget.kind}
