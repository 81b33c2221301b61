"""The sections of experts: one a kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from recsys_mtl.config.section import Section


class MlpExpertConfig(Section):
    """Feed-forward experts: Linear, normalisation, activation, dropout per hidden layer."""

    kind: Literal["mlp"] = "mlp"
    count: PositiveInt = Field(1, description="number of such experts")
    hidden: list[PositiveInt] = Field(
        [128, 64], min_length=1, description="layer widths; the last is the output"
    )


class CrossExpertConfig(Section):
    """DCN-v2 cross layers (Wang et al. 2021), then a projection to `width`."""

    kind: Literal["cross"]
    count: PositiveInt = Field(1, description="number of such experts")
    layers: PositiveInt = Field(2, description="cross layers")
    width: PositiveInt = Field(64, description="output width")


class FmExpertConfig(Section):
    """DeepFM's pairwise part (Guo et al. 2017) over `fields` projections to `width`."""

    kind: Literal["fm"]
    count: PositiveInt = Field(1, description="number of such experts")
    fields: Annotated[int, Field(ge=2)] = Field(8, description="projections that are paired")
    width: PositiveInt = Field(64, description="output width")


ExpertConfig = Annotated[
    MlpExpertConfig | CrossExpertConfig | FmExpertConfig, Field(discriminator="kind")
]
