"""The sections of tasks: one typed section a kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from recsys_mtl.config.section import NonNegative, Section


class TaskConfigBase(Section):
    """What every task has."""

    label: str | None = Field(None, description="label column; the task's name if null")
    weight: PositiveFloat = Field(1.0, description="fixed task weight in the total loss")
    only_where: str | None = Field(
        None, description="sample space, such as `click == 1`; other rows count as unlabelled"
    )
    null_values: list[str] = Field([], description="label values that mean unlabelled")


class BinaryConfig(TaskConfigBase):
    """A yes/no label; the prediction is a probability."""

    kind: Literal["binary"]
    positive: str | None = Field(None, description="the value that counts as 1; else 0/1, bool")
    loss: Literal["bce", "focal"] = Field("bce", description="cross-entropy, or focal loss")
    gamma: NonNegative = Field(2.0, description="focusing parameter of focal loss")
    alpha: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.25, description="weight of the positive class in focal loss"
    )


class MulticlassConfig(TaskConfigBase):
    """One of several classes; the prediction is a class and its probabilities."""

    kind: Literal["multiclass"]
    classes: list[str] | None = Field(None, description="all classes; fitted on train if null")

    @model_validator(mode="after")
    def _classes_differ(self) -> MulticlassConfig:
        if self.classes is not None and (
            len(self.classes) < 2 or len(set(self.classes)) != len(self.classes)
        ):
            raise ValueError("classes needs two or more different values")
        return self


class RegressionConfig(TaskConfigBase):
    """A number; the prediction is in the label's own unit."""

    kind: Literal["regression"]
    loss: Literal["mse", "huber"] = Field("mse", description="on the transformed target")
    delta: PositiveFloat = Field(1.0, description="huber's threshold, on the transformed target")
    transform: Literal["standardize", "log1p", "none"] = Field(
        "standardize", description="of the target, fitted on train and undone in predictions"
    )


class RetrievalConfig(TaskConfigBase):
    """An item id; the prediction is the nearest items of a learned item table."""

    kind: Literal["retrieval"]
    dim: PositiveInt = Field(128, description="width of queries and items")
    temperature: PositiveFloat = Field(0.07, description="divides the cosine similarities")
    max_items: PositiveInt = Field(100_000, description="most frequent items that can be found")


TaskConfig = Annotated[
    BinaryConfig | MulticlassConfig | RegressionConfig | RetrievalConfig,
    Field(discriminator="kind"),
]
