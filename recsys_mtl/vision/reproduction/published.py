"""The numbers that a paper has published; they are shown and change nothing."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from recsys_mtl.config.section import Name, Section

Value = Annotated[list[float], Field(min_length=1, max_length=2)]
"""A mean, and the standard deviation where it is published."""
AttentionName = Literal["cosine", "cosine_squared", "euclidean"]


class PublishedMethod(Section):
    """The paper's numbers of a method."""

    loss: Value | None = None
    accuracy: dict[Name, Value] = Field({}, description="by task, percent")
    auroc: Value | None = Field(None, description="mean over tasks")
    steps: float | None = Field(None, description="to the threshold; null: never")


class PublishedAttention(Section):
    """Losses of an attention."""

    adaptive: Value
    fixed: Value


class Published(Section):
    """The paper's numbers; they are shown and change nothing."""

    methods: dict[Name, PublishedMethod] = Field({}, description="by name")
    attention: dict[AttentionName, PublishedAttention] = Field({}, description="likewise")
    best: list[float] | None = Field(None, description="[τ, λ] of the sweep")
    worst: list[float] | None = Field(None, description="likewise")
