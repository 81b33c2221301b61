"""The section `training`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, PositiveFloat, PositiveInt, Tag, model_validator

from recsys_mtl.config.checkpoints import CheckpointsConfig
from recsys_mtl.config.named import NamedConfig, name_of
from recsys_mtl.config.section import Fraction, NonNegative, Section


class DenseOptimizerConfig(Section):
    """AdamW for everything but the embedding tables, with warm-up and a schedule."""

    learning_rate: PositiveFloat = Field(1e-3, description="peak rate")
    weight_decay: NonNegative = Field(1e-2, description="decoupled, of weight matrices only")
    clip_norm: PositiveFloat | None = Field(
        5.0, description="largest gradient norm of all parameters together; null: no clipping"
    )
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="of the dense and the tables' rate, after the warm-up"
    )
    warmup: Fraction = Field(0.05, description="share of all steps with a rising rate")


class TableOptimizerConfig(Section):
    """The optimizer fused into the embedding tables' backward."""

    name: Literal["adagrad", "rowwise_adagrad", "sgd"] = Field(
        "rowwise_adagrad", description="rowwise: one accumulator a table row"
    )
    learning_rate: PositiveFloat = Field(0.02, description="peak rate")
    weight_decay: NonNegative = Field(
        0.0, description="decoupled, of the rows that a step reads, in every step once"
    )
    sharding: Literal["auto", "replicated", "table", "row"] = Field(
        "auto",
        description="with several processes: replicated in each; whole tables, or rows of each, "
        "spread over them; auto: replicated up to 1 GiB of weights, above by TorchRec's planner",
    )

    @model_validator(mode="after")
    def _decay_keeps_signs(self) -> Self:
        if self.learning_rate * self.weight_decay >= 1:
            raise ValueError("learning_rate times weight_decay is 1 or more: rows would be erased")
        return self


class EarlyStoppingConfig(Section):
    """When to stop and which weights to keep."""

    metric: str = Field("loss", description="`loss` (mean validation loss) or TASK/METRIC")
    patience: PositiveInt | None = Field(
        3, description="epochs without a better value; null: never"
    )
    min_delta: NonNegative = Field(0.0, description="gain that counts as better must exceed it")
    keep: Literal["best", "last"] = Field(
        "best", description="the weights of the epoch with the best value, or of the last one"
    )


class NoAveragingConfig(NamedConfig):
    """The weights of the last step of an epoch are evaluated and kept."""

    name: Literal["none"] = "none"


class EmaConfig(NamedConfig):
    """An exponential moving average of the weights over steps is evaluated and kept."""

    name: Literal["ema"]
    decay: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.998, description="share of the past in a step's average; lower in the first steps"
    )


class SwaConfig(NamedConfig):
    """Stochastic weight averaging: the mean of the weights over steps is evaluated and kept."""

    name: Literal["swa"]
    start: Fraction = Field(0.5, description="share of all steps before the first that counts")


AveragingConfig = Annotated[
    Annotated[NoAveragingConfig, Tag("none")]
    | Annotated[EmaConfig, Tag("ema")]
    | Annotated[SwaConfig, Tag("swa")],
    Discriminator(name_of),
]


class WarmStartConfig(Section):
    """A trained model that training starts from, instead of random weights."""

    model: str | None = Field(
        None,
        description="a run's folder, a model folder, or models:/NAME@ALIAS; `--from` is short for "
        "it; null: none",
    )
    take: Literal["all", "tables"] = Field(
        "all", description="all weights, or the embedding tables of the same names alone"
    )
    vocabulary: Literal["grow", "refit"] = Field(
        "grow", description="grow: ids of the model that the new rows lack stay; refit: they go"
    )
    optimizer: Literal["fresh", "kept"] = Field(
        "fresh", description="kept: its state too, where the model was stored with keep_optimizer"
    )


class DistributedConfig(Section):
    """Several processes that train one model, see `train --processes`."""

    timeout_s: PositiveFloat = Field(
        600.0, description="seconds that a process waits for the others before the training ends"
    )


class TrainingConfig(Section):
    """The loop."""

    recipe: Literal["auto", "table", "stream", "none"] = Field(
        "auto",
        description="decides keys that are not set, here and in `model`: table for up to 200,000 "
        "rows, stream for more or for rare ids, none keeps the defaults; `validate` shows it",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: CUDA if there is one")
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="of matrix products; fp16 on CUDA only"
    )
    compile: Literal["auto", "off", "on", "graph"] = Field(
        "auto",
        description="experts and towers by torch.compile, which needs a C++ compiler on a CPU and "
        "Triton on a GPU; graph: as CUDA graphs too, of steps with one pass; auto: off, as it is "
        "slower on a CPU and not yet measured on a GPU",
    )
    epochs: PositiveInt = Field(10, description="most passes over the training rows")
    batch_size: PositiveInt = Field(1024, description="rows of a step, of all processes")
    shuffle_seed: Annotated[int, Field(ge=0, lt=2**31)] | None = Field(
        None, description="of the order of rows alone; the run's seed if null"
    )
    threads: Annotated[int, Field(gt=0, le=1024)] | None = Field(
        None,
        description="CPU threads; torch's default if null, the cores divided by the machine's "
        "processes where there are several",
    )
    optimizer: DenseOptimizerConfig = DenseOptimizerConfig()
    tables: TableOptimizerConfig = TableOptimizerConfig()
    averaging: AveragingConfig = Field(
        NoAveragingConfig(), description="of the weights over steps, tables included"
    )
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    warm_start: WarmStartConfig = WarmStartConfig()
    freeze: list[Literal["tables", "experts"]] = Field(
        [], description="parts of a warm start that are not trained; experts with their gates"
    )
    keep_optimizer: bool = Field(
        False, description="store the optimizers' state with the model, for later warm starts"
    )
    checkpoints: CheckpointsConfig = CheckpointsConfig()
    distributed: DistributedConfig = DistributedConfig()
    max_nonfinite: PositiveInt = Field(
        10,
        description="batches in a row with a non-finite loss that stop the run; on a GPU they are "
        "skipped at once, and counted and reported every 50 steps",
    )
