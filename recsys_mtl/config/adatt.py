"""The section `adatt`: adaptive task transfer, off by default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from recsys_mtl.config.section import Fraction, NonNegative, Section

Share = Annotated[float, Field(ge=0.0, le=1.0)]
MeasureName = Literal["gradient_cosine", "logit_correlation", "averaged_gradient"]
Affinity = Annotated[float, Field(ge=-1.0, le=1.0)]


class TaskGroupConfig(Section):
    """Tasks that are believed to be related."""

    tasks: list[str] = Field(min_length=1, description="names of tasks; a task is in one group")
    strength: Share = Field(0.7, description="prior strength within the group")


class PriorConfig(Section):
    """What is believed of the tasks before anything is measured."""

    groups: dict[str, TaskGroupConfig] = Field(
        {},
        description="by a name of your choice; architecture home takes them too, with adatt or "
        "without",
    )
    between: Share = Field(0.3, description="prior strength for two tasks that share no group")
    start: Share = Field(0.5, description="share of the prior at the end of the warm-up")
    end: Share = Field(0.1, description="share of the prior from freeze_epoch on; linear between")


class MeasureConfig(Section):
    """How the affinity of two tasks is measured."""

    name: MeasureName | None = Field(
        None,
        description="cosine of gradients on the shared experts (published), correlation of the "
        "tasks' outputs, or cosine of averaged gradients on a linear probe of the input; null: "
        "logit_correlation for mechanism borrow, else gradient_cosine",
    )
    scope: Literal["all", "expert"] = Field(
        "all", description="one affinity over all shared experts, or one for each; gradient_cosine"
    )
    interval: PositiveInt = Field(10, description="steps between measurements")
    rows: PositiveInt | None = Field(
        512, description="rows of the batch to measure on; null: all of them"
    )
    decay: Fraction = Field(0.9, description="of the moving average")
    debias: bool | None = Field(
        None,
        description="whether the average forgets its start; null: as published for "
        "gradient_cosine, true for the others",
    )


class BorrowConfig(Section):
    """Settings of mechanism `borrow`."""

    strength: NonNegative = Field(4.0, description="of the borrowed losses")
    scarce: Literal["missing", "rare"] = Field(
        "missing",
        description="a task is scarce below a quarter of the median task's labelled rows, or of "
        "its effective labels (twice the smaller class), by which a rare signal receives too",
    )
    donors: Literal["measured", "uniform"] | dict[str, list[str]] = Field(
        "measured",
        description="donors of a task with few labels: its measured relatives, all others (a "
        "control), or the tasks that you name; each counts by the root of its labels",
    )


class AdaTTConfig(Section):
    """Adaptive task transfer: measure how tasks agree, select peers, transfer by phases."""

    mechanism: Literal["off", "loss", "gradient", "borrow"] = Field(
        "off",
        description="loss: peers' losses are added (published); gradient: the same weights on the "
        "shared experts' gradients; borrow: tasks with few labels learn their relatives' labels",
    )
    warmup_epochs: Annotated[int, Field(ge=0)] = Field(
        1, description="epochs that measure without transfer"
    )
    freeze_epoch: PositiveInt = Field(
        7, description="first epoch (from 0) with frozen weights and no measuring"
    )
    freeze_gates: bool = Field(False, description="the gates are frozen from freeze_epoch on, too")
    measure: MeasureConfig = MeasureConfig()
    prior: PriorConfig = PriorConfig()
    threshold: Affinity = Field(-0.1, description="peers of a lower affinity are blocked")
    temperature: PositiveFloat = Field(1.0, description="of the softmax over peers")
    masking: Literal["exclude", "zero_logit"] = Field(
        "exclude",
        description="blocked peers weigh 0, or get the logit 0 as published (and so weight)",
    )
    learn_weights: bool = Field(True, description="whether W is learned; mechanism loss")
    strength: NonNegative = Field(0.1, description="λ of mechanisms loss and gradient")
    max_ratio: NonNegative | None = Field(
        0.5, description="largest share of a task's loss that is added to it; mechanism loss"
    )
    borrow: BorrowConfig = BorrowConfig()

    @property
    def measure_name(self) -> MeasureName:
        """The measure that the mechanism takes."""
        by_mechanism: MeasureName = (
            "logit_correlation" if self.mechanism == "borrow" else "gradient_cosine"
        )
        return self.measure.name or by_mechanism

    @model_validator(mode="after")
    def _phases_in_order(self) -> AdaTTConfig:
        if self.freeze_epoch <= self.warmup_epochs:
            raise ValueError(
                f"freeze_epoch ({self.freeze_epoch}) must be more than warmup_epochs "
                f"({self.warmup_epochs}), to leave an epoch in which weights adapt"
            )
        return self
