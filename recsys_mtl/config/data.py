"""The section `data`: where the rows are, how they are split and loaded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from recsys_mtl.config.csv import CsvConfig
from recsys_mtl.config.section import Fraction, NonNegative, Section


class FractionSplitConfig(Section):
    """Rows go to valid and test by a seeded hash of their position."""

    kind: Literal["fraction"]
    valid: Fraction = Field(0.15, description="share of the rows")
    test: Fraction = Field(0.15, description="share of the rows")


class GroupSplitConfig(Section):
    """All rows of one group (a customer) go to the same split, by a seeded hash of its value."""

    kind: Literal["group"]
    column: str = Field(description="the group of a row, never null; need not be a feature")
    valid: Fraction = Field(0.15, description="share of the groups")
    test: Fraction = Field(0.15, description="share of the groups")


class TimeSplitConfig(Section):
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


class FileSplitConfig(Section):
    """`data.path` holds the training rows; valid and test have their own paths."""

    kind: Literal["files"]
    valid: str | list[str] = Field(description="as data.path")
    test: str | list[str] = Field(description="as data.path")


SplitConfig = Annotated[
    FractionSplitConfig | GroupSplitConfig | TimeSplitConfig | FileSplitConfig,
    Field(discriminator="kind"),
]


class NegativesConfig(Section):
    """Training rows on which a task did not happen, thinned while they are read."""

    task: str = Field(description="binary task; predictions stay calibrated, for all tasks")
    keep: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(description="share of them that is kept")


class DataConfig(Section):
    """Where the rows are and how they are split and loaded."""

    path: str | list[str] = Field(
        description="file, folder (hive partitions too), glob, or a list; paths or URIs (s3://…)"
    )
    root: str | None = Field(
        None, description="folder or URI that paths start from; else $RECSYS_MTL_DATA, else the cwd"
    )
    format: Literal["auto", "parquet", "csv"] = Field("auto", description="auto: by the suffix")
    csv: CsvConfig = CsvConfig()
    split: SplitConfig = Field(default_factory=lambda: FractionSplitConfig(kind="fraction"))
    ignore: list[str] = Field([], description="columns (or patterns such as 'tmp_*') not used")
    weight: str | None = Field(None, description="column of row weights; 0 leaves a row out")
    negatives: NegativesConfig | None = Field(
        None, description="thins negatives of the training rows, such as {task: click, keep: 0.1}"
    )
    loading: Literal["auto", "memory", "stream"] = Field(
        "auto", description="auto keeps encoded rows in memory when they fit memory_limit_mb"
    )
    memory_limit_mb: PositiveInt = Field(1024, description="MiB of encoded rows; see loading")
    rows_on: Literal["auto", "host", "device"] = Field(
        "auto",
        description="where training rows held in memory are selected; device: on the GPU, without "
        "copies in a step; host: a thread makes batches, copied beside the step before; auto: "
        "device where they take at most a quarter of the GPU's free memory; the batches are the "
        "same, and on a CPU it is one memory",
    )
    shuffle_buffer: PositiveInt = Field(200_000, description="rows shuffled together when streamed")
    lanes: Literal[1, 2, 4, 8, 16, 32, 64, 128] = Field(
        8,
        description="parts of streamed training rows that share each batch; processes divide them",
    )
    fit_rows: PositiveInt = Field(
        2_000_000, description="training rows that vocabularies and statistics are fitted on"
    )
    leakage_threshold: Annotated[float, Field(gt=0.5, le=1.0)] = Field(
        0.995, description="warn of a feature that alone reaches this AUC (or |rank corr.|)"
    )
