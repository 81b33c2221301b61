"""What a run's YAML may say, typed; every key a run has, its default and its meaning.

Nothing here reads a file or touches data. Contradictions inside one section are found here;
contradictions between sections in `recsys_mtl.config.check`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from recsys_mtl.config.adatt import AdaTT
from recsys_mtl.config.combiner import Combiner, Sum
from recsys_mtl.config.section import Fraction, Name, NonNegative, Section

# ---------------------------------------------------------------------------- data


class Categorical(Section):
    """A feature that takes one of many values; each becomes a row of an embedding table."""

    kind: Literal["categorical"]
    encoding: Literal["vocabulary", "hash"] = Field(
        "vocabulary", description="vocabulary fitted on the training rows, or hashed buckets"
    )
    buckets: PositiveInt | None = Field(None, description="number of buckets of `hash`")
    min_count: PositiveInt = Field(1, description="rarer training values share the unknown row")
    max_size: PositiveInt | None = Field(None, description="keep only the most frequent values")
    dim: PositiveInt | None = Field(
        None, description="embedding width; model.embedding.dim if null"
    )
    null_values: list[str] = Field([], description="values that mean missing, beside null")

    @model_validator(mode="after")
    def _buckets_belong_to_hash(self) -> Categorical:
        if self.encoding == "hash" and self.buckets is None:
            raise ValueError("encoding hash needs buckets")
        if self.encoding == "vocabulary" and self.buckets is not None:
            raise ValueError("buckets belongs to encoding: hash")
        return self


class CategoricalList(Categorical):
    """A list-valued categorical feature (recent merchants); its embeddings are pooled."""

    kind: Literal["categorical_list"]  # type: ignore[assignment]
    pooling: Literal["mean", "sum"] = Field("mean", description="how a list becomes one vector")
    max_length: PositiveInt = Field(50, description="longer lists keep their first values")
    separator: str | None = Field(None, description="splits a text column into a list (CSV)")


class Numeric(Section):
    """A number; null is imputed with the training median and flagged by an indicator."""

    kind: Literal["numeric"]
    transform: Literal["standardize", "log1p", "quantile", "piecewise", "none"] = Field(
        "standardize",
        description="log1p is signed and then standardised; quantile maps to a normal score; "
        "piecewise is the piecewise-linear encoding over quantile bins (Gorishniy et al. 2022)",
    )
    bins: Annotated[int, Field(ge=2, le=256)] = Field(16, description="bins of `piecewise`")


Feature = Annotated[Categorical | CategoricalList | Numeric, Field(discriminator="kind")]


class FractionSplit(Section):
    """Rows go to valid and test by a seeded hash of their position."""

    kind: Literal["fraction"]
    valid: Fraction = Field(0.15, description="share of the rows")
    test: Fraction = Field(0.15, description="share of the rows")


class GroupSplit(Section):
    """All rows of one group (a customer) go to the same side, by a seeded hash of its value."""

    kind: Literal["group"]
    column: str = Field(description="the group of a row, never null; need not be a feature")
    valid: Fraction = Field(0.15, description="share of the groups")
    test: Fraction = Field(0.15, description="share of the groups")


class TimeSplit(Section):
    """Oldest rows train, newest test; `gap` is dropped before each boundary."""

    kind: Literal["time"]
    column: str = Field(description="numbers, dates or ISO text, never null; need not be a feature")
    valid_from: str | float | None = Field(
        None, description="first time of valid; the (1 - valid - test) quantile if null"
    )
    test_from: str | float | None = Field(
        None, description="first time of test; the (1 - test) quantile if null"
    )
    valid: Fraction = Field(0.15, description="share of the rows, where valid_from is null")
    test: Fraction = Field(0.15, description="share of the rows, where test_from is null")
    gap: NonNegative = Field(
        0.0, description="days for a date column, the column's own unit for a number"
    )


class FileSplit(Section):
    """`data.path` trains; valid and test are given as paths of their own."""

    kind: Literal["files"]
    valid: str | list[str] = Field(description="as data.path")
    test: str | list[str] = Field(description="as data.path")


Split = Annotated[FractionSplit | GroupSplit | TimeSplit | FileSplit, Field(discriminator="kind")]


class Data(Section):
    """Where the rows are and how they are split and loaded."""

    path: str | list[str] = Field(description="file, folder (hive partitions too), glob, or a list")
    root: str | None = Field(
        None, description="folder that paths start from; else $RECSYS_MTL_DATA, else the cwd"
    )
    format: Literal["auto", "parquet", "csv"] = Field("auto", description="auto: by the suffix")
    split: Split = Field(default_factory=lambda: FractionSplit(kind="fraction"))
    ignore: list[str] = Field([], description="columns (or patterns such as 'tmp_*') not used")
    weight: str | None = Field(None, description="column of non-negative row weights")
    loading: Literal["auto", "memory", "stream"] = Field(
        "auto", description="auto keeps encoded rows in memory when they fit memory_limit_mb"
    )
    memory_limit_mb: PositiveInt = Field(1024, description="MiB of encoded rows; see loading")
    shuffle_buffer: PositiveInt = Field(200_000, description="rows shuffled together when streamed")
    fit_rows: PositiveInt = Field(
        2_000_000, description="training rows that vocabularies and statistics are fitted on"
    )
    leakage_threshold: Annotated[float, Field(gt=0.5, le=1.0)] = Field(
        0.995, description="warn of a feature that alone reaches this AUC (or |rank corr.|)"
    )


# --------------------------------------------------------------------------- tasks


class TaskBase(Section):
    """What every task has."""

    label: str | None = Field(None, description="label column; the task's name if null")
    weight: PositiveFloat = Field(1.0, description="fixed task weight in the total loss")
    only_where: str | None = Field(
        None, description="sample space, such as `click == 1`; other rows count as unlabelled"
    )
    null_values: list[str] = Field([], description="label values that mean unlabelled")


class Binary(TaskBase):
    """A yes/no label; the prediction is a probability."""

    kind: Literal["binary"]
    positive: str | None = Field(None, description="the value that counts as 1; else 0/1, bool")
    loss: Literal["bce", "focal"] = Field("bce", description="cross-entropy, or focal loss")
    gamma: NonNegative = Field(2.0, description="focusing parameter of focal loss")
    alpha: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.25, description="weight of the positive class in focal loss"
    )


class Multiclass(TaskBase):
    """One of several classes; the prediction is a class and its probabilities."""

    kind: Literal["multiclass"]
    classes: list[str] | None = Field(None, description="all classes; fitted on train if null")

    @model_validator(mode="after")
    def _classes_differ(self) -> Multiclass:
        if self.classes is not None and (
            len(self.classes) < 2 or len(set(self.classes)) != len(self.classes)
        ):
            raise ValueError("classes needs two or more different values")
        return self


class Regression(TaskBase):
    """A number; the prediction is in the label's own unit."""

    kind: Literal["regression"]
    loss: Literal["mse", "huber"] = Field("mse", description="on the transformed target")
    delta: PositiveFloat = Field(1.0, description="huber's threshold, on the transformed target")
    transform: Literal["standardize", "log1p", "none"] = Field(
        "standardize", description="of the target, fitted on train and undone in predictions"
    )


class Retrieval(TaskBase):
    """An item id; the prediction is the nearest items of a learned item table."""

    kind: Literal["retrieval"]
    dim: PositiveInt = Field(128, description="width of queries and items")
    temperature: PositiveFloat = Field(0.07, description="divides the cosine similarities")
    max_items: PositiveInt = Field(100_000, description="most frequent items that can be found")


Task = Annotated[Binary | Multiclass | Regression | Retrieval, Field(discriminator="kind")]


# --------------------------------------------------------------------------- model


class Embedding(Section):
    """Embedding tables and their backend."""

    dim: PositiveInt = Field(16, description="width of tables that name none")
    backend: Literal["auto", "torchrec", "plain"] = Field(
        "auto", description="auto takes torchrec's fused tables where they import, else plain"
    )


class MlpExpert(Section):
    """Feed-forward experts: Linear, LayerNorm, SiLU, dropout per hidden layer."""

    kind: Literal["mlp"] = "mlp"
    count: PositiveInt = Field(1, description="number of such experts")
    hidden: list[PositiveInt] = Field(
        [128, 64], min_length=1, description="layer widths; the last is the output"
    )


class CrossExpert(Section):
    """DCN-v2 cross layers (Wang et al. 2021), then a projection to `width`."""

    kind: Literal["cross"]
    count: PositiveInt = Field(1, description="number of such experts")
    layers: PositiveInt = Field(2, description="cross layers")
    width: PositiveInt = Field(64, description="output width")


class FmExpert(Section):
    """DeepFM's pairwise part (Guo et al. 2017) over `fields` projections to `width`."""

    kind: Literal["fm"]
    count: PositiveInt = Field(1, description="number of such experts")
    fields: Annotated[int, Field(ge=2)] = Field(8, description="projections that are paired")
    width: PositiveInt = Field(64, description="output width")


Expert = Annotated[MlpExpert | CrossExpert | FmExpert, Field(discriminator="kind")]


class Gates(Section):
    """Prior and regularisation of the CGC gates."""

    entropy: NonNegative = Field(0.01, description="weight of the entropy regulariser")
    preferred: dict[str, list[str]] = Field(
        {},
        description="task -> expert names (shared.0, ctr.1): gate bias +1 there, -1 on the task's "
        "other experts",
    )


class Tower(Section):
    """A task's own network on top of its experts."""

    hidden: list[PositiveInt] = Field([64, 32], description="layer widths; may be empty")


class LogitTransfer(Section):
    """A residual from one task's output into another's tower input."""

    source: str = Field(description="task whose logit is read; not a retrieval task")
    target: str = Field(description="task whose tower input it is added to")


class Model(Section):
    """The network: embeddings, experts, gates, towers."""

    architecture: Literal["ple", "mmoe", "shared_bottom", "single_task"] = Field(
        "ple",
        description="mmoe has no task experts; shared_bottom averages the shared experts, without "
        "gates; single_task has task experts only",
    )
    embedding: Embedding = Embedding()
    levels: PositiveInt = Field(1, description="CGC levels; more than one only for ple")
    shared_experts: list[Expert] = Field(
        [MlpExpert(count=2)], min_length=1, description="experts of all tasks, at every level"
    )
    task_experts: list[Expert] = Field(
        [MlpExpert(count=1)], min_length=1, description="experts of each task, at every level"
    )
    match_width: Literal["project", "scale"] = Field(
        "project",
        description="experts of unequal width: project to the widest, or zero-pad and scale by "
        "sqrt(mean width / width)",
    )
    gates: Gates = Gates()
    tower: Tower = Tower()
    dropout: Fraction = Field(0.1, description="after each hidden layer of mlp experts")
    tower_dropout: Fraction = Field(0.2, description="after each hidden layer of a tower")
    logit_transfer: list[LogitTransfer] = Field([], description="task pairs, without a cycle")


# ------------------------------------------------------------- balancing, training


class Balancing(Section):
    """How task losses are weighed, always on top of the fixed task weights."""

    name: Literal["fixed", "uncertainty", "dwa", "famo", "imtl_l", "stch", "gradnorm"] = Field(
        "fixed", description="the method; fixed: the task weights alone"
    )
    alpha: NonNegative = Field(1.5, description="how hard gradnorm pulls tasks that lag behind")
    learning_rate: PositiveFloat = Field(0.025, description="of gradnorm's weights")


class DenseOptimizer(Section):
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


class TableOptimizer(Section):
    """The optimizer fused into the embedding tables' backward."""

    name: Literal["adagrad", "rowwise_adagrad", "sgd"] = Field(
        "rowwise_adagrad", description="rowwise: one accumulator a table row"
    )
    learning_rate: PositiveFloat = Field(0.02, description="peak rate")


class EarlyStopping(Section):
    """When to stop and which weights to keep."""

    metric: str = Field("loss", description="`loss` (mean validation loss) or TASK/METRIC")
    patience: PositiveInt | None = Field(
        3, description="epochs without a better value; null: never"
    )
    min_delta: NonNegative = Field(0.0, description="gain that counts as better must exceed it")
    keep: Literal["best", "last"] = Field(
        "best", description="the weights of the epoch with the best value, or of the last one"
    )


class Training(Section):
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
    optimizer: DenseOptimizer = DenseOptimizer()
    tables: TableOptimizer = TableOptimizer()
    early_stopping: EarlyStopping = EarlyStopping()
    max_nonfinite: PositiveInt = Field(
        10, description="batches in a row with a non-finite loss that stop the run"
    )


class Evaluation(Section):
    """Settings of the metrics."""

    calibration_bins: PositiveInt = Field(15, description="bins of the calibration error")
    top_k: list[PositiveInt] = Field(
        [1, 5, 10], min_length=1, description="the K of recall_at_K; the largest is predicted"
    )


class Tracking(Section):
    """MLflow."""

    enabled: bool = Field(True, description="false: nothing is sent anywhere")
    uri: str | None = Field(None, description="else $MLFLOW_TRACKING_URI, else sqlite:///mlflow.db")
    experiment: str = Field("recsys_mtl", description="created where it does not exist")


class Config(Section):
    """One run."""

    name: Name = Field(description="run name in MLflow; runs/NAME is the default output folder")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        0, description="of the split, the initial weights, dropout and the order of rows"
    )
    data: Data
    features: dict[Annotated[str, Field(min_length=1)], Feature] = Field(
        min_length=1, description="by column name"
    )
    tasks: dict[Name, Task] = Field(min_length=1, description="by a name of your choice")
    model: Model = Model()
    balancing: Balancing = Balancing()
    adatt: AdaTT = AdaTT()
    combiner: Combiner = Sum()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    tracking: Tracking = Tracking()
