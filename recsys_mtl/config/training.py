"""The section `training`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

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


class TrainingConfig(Section):
    """The loop."""

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: CUDA if there is one")
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="of matrix products; fp16 on CUDA only"
    )
    epochs: PositiveInt = Field(10, description="most passes over the training rows")
    batch_size: PositiveInt = Field(1024, description="rows of a step")
    shuffle_seed: Annotated[int, Field(ge=0, lt=2**31)] | None = Field(
        None, description="of the order of rows alone; the run's seed if null"
    )
    threads: PositiveInt | None = Field(None, description="CPU threads; torch's default if null")
    optimizer: DenseOptimizerConfig = DenseOptimizerConfig()
    tables: TableOptimizerConfig = TableOptimizerConfig()
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    max_nonfinite: PositiveInt = Field(
        10, description="batches in a row with a non-finite loss that stop the run"
    )
