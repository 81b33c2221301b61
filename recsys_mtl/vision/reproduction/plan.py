"""The YAML of a reproduction."""

from __future__ import annotations

import os
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt

from recsys_mtl.config.combiner import CombinerConfig, SumConfig
from recsys_mtl.config.schema import TrackingConfig
from recsys_mtl.config.section import Name, NonNegative, Section
from recsys_mtl.study.plan import SeedsConfig

AttentionName = Literal["cosine", "cosine_squared", "euclidean"]
UserPath = Annotated[str, AfterValidator(os.path.expanduser)]


class RowsConfig(Section):
    """How many images are kept."""

    train: Annotated[int, Field(ge=2)] = Field(description="at most, the first ones")
    test: PositiveInt = Field(description="likewise")


class RotMnistData(Section):
    """Digits, each rotated and coloured; scikit-learn's digits where there is no MNIST."""

    tag: ClassVar[str] = "kind"

    kind: Literal["rot_mnist"]
    rows: RowsConfig | None = Field(None, description="null: all")


class CelebaData(Section):
    """Faces with yes/no attributes."""

    tag: ClassVar[str] = "kind"

    kind: Literal["celeba"]
    rows: RowsConfig | None = Field(None, description="null: all")
    attributes: list[str] = Field(
        ["Smiling", "Male", "Eyeglasses", "Wearing_Hat", "Bangs"], description="the tasks"
    )
    size: PositiveInt = Field(128, description="pixels of each edge of the network's input")
    crop: PositiveInt = Field(
        178, description="pixels of each edge of the centre square, before that"
    )
    tested: Literal["valid", "test"] = Field(
        "valid", description="split that is measured; the paper uses the official valid"
    )
    only_present: bool = Field(
        False, description="leave out images without a file; the report counts them"
    )
    cache: UserPath | None = Field(
        None, description="folder of decoded images; null: in the data's own"
    )
    workers: PositiveInt | None = Field(None, description="threads that decode; null: one a core")


Dataset = Annotated[RotMnistData | CelebaData, Field(discriminator="kind")]


class SmallCnnModel(Section):
    """A few convolutions."""

    tag: ClassVar[str] = "kind"

    kind: Literal["small_cnn"]
    channels: Annotated[list[PositiveInt], Field(min_length=1)] = Field(
        [16, 32], description="of each stage"
    )
    width: PositiveInt = Field(64, description="features")


class ResNet18Model(Section):
    """ResNet-18."""

    tag: ClassVar[str] = "kind"

    kind: Literal["resnet18"]
    weights: UserPath | None = Field(None, description="file to start from; null: drawn")
    freeze_stem: bool = Field(False, description="the first layers do not learn")


BackboneConfig = Annotated[SmallCnnModel | ResNet18Model, Field(discriminator="kind")]


class Training(Section):
    """AdamW at one rate for all methods, without a schedule."""

    epochs: PositiveInt = Field(7, description="passes over the images")
    batch_size: Annotated[int, Field(ge=2)] = Field(256, description="images a step")
    learning_rate: PositiveFloat = Field(2e-3, description="of every parameter")
    weight_decay: NonNegative = Field(1e-4, description="of every parameter, relative to the rate")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: CUDA if there is one")


class Threshold(Section):
    """After how many steps the loss is low enough."""

    loss: PositiveFloat = Field(0.3, description="below this")
    every: PositiveInt = Field(50, description="steps between two measurements")
    images: PositiveInt = Field(
        2000, description="test images of each measurement, always the same"
    )
    limit: PositiveInt = Field(1200, description="steps until the last measurement")


class Method(Section):
    """How the tasks are trained together."""

    combiner: CombinerConfig = Field(SumConfig(), description="of the shared parameters' gradients")
    balancing: Literal["fixed", "gradnorm"] = Field("fixed", description="of the losses")
    alone: bool = Field(False, description="a network for each task, put together")


class AttentionStudy(Section):
    """One method with each attention, its coefficient adaptive and fixed."""

    over: Name = Field("cagt", description="method that is changed")
    attentions: list[AttentionName] = Field(
        ["cosine", "cosine_squared", "euclidean"], description="scores of the softmax"
    )


class Sweep(Section):
    """One method with each temperature and coefficient."""

    over: Name = Field("cagt", description="method that is changed")
    temperatures: Annotated[list[PositiveFloat], Field(min_length=1)]
    coefficients: Annotated[list[Annotated[float, Field(ge=0.0, le=1.0)]], Field(min_length=1)]
    adaptive: bool = Field(
        False, description="λ follows step and conflicts; it is then at most 0.5 for 500 steps"
    )
    epochs: PositiveInt = Field(description="of each run")
    seeds: SeedsConfig = SeedsConfig(count=1)
    reruns: PositiveInt = Field(1, description="of each seed")
    rows: RowsConfig | None = Field(None, description="null: those of the data set")


Value = Annotated[list[float], Field(min_length=1, max_length=2)]
"""A mean, and the standard deviation where it is published."""


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


class Reproduction(Section):
    """A study: methods on paired runs of one data set."""

    name: Name = Field(description="reproductions/NAME is the default folder")
    dataset: Dataset
    model: BackboneConfig
    weights: dict[Name, PositiveFloat] = Field({}, description="of the tasks' losses; else 1")
    training: Training = Training()
    seeds: SeedsConfig = SeedsConfig()
    reruns: PositiveInt = Field(3, description="of a seed, each with its own weights and order")
    methods: Annotated[dict[Name, Method], Field(min_length=1)]
    reference: Name = Field("sum", description="method that all others are compared with")
    against: Name | None = Field("cagt", description="a second one; null: none")
    threshold: Threshold | None = None
    attention: AttentionStudy | None = None
    sweep: Sweep | None = None
    published: Published = Published()
    tracking: TrackingConfig = TrackingConfig()
