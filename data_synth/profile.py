"""Profile of a data set's rows: missingness, ids in use, labels by month."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from data_synth.truth import Truth
from recsys_mtl.errors import wrong

_EXACT_ROWS = 1_000_000


@dataclass(frozen=True)
class ColumnProfile:
    """One column of the rows.

    Attributes:
        type: number, id, text, list or date.
        missing: share of nulls.
        distinct: different values, approximately beyond a million rows; None for lists.
        mean: of numbers, or the mean length of lists.
    """

    type: str
    missing: float
    distinct: int | None
    mean: float | None


@dataclass(frozen=True)
class Profile:
    """Summary of a data set's rows.

    Attributes:
        rows: how many.
        months: in order.
        columns: the features and keys, without the labels.
        shares: label -> share of its labelled rows, for class labels by class, most frequent first.
        means: label -> mean of its labelled rows, for labels that are numbers (0 and 1 included).
        spreads: label -> standard deviation of the same.
        by_month: label -> that mean in each month, NaN where nothing is labelled.
    """

    rows: int
    months: list[str]
    columns: dict[str, ColumnProfile]
    shares: dict[str, list[float]]
    means: dict[str, float]
    spreads: dict[str, float]
    by_month: dict[str, list[float]]


def profile(truth: Truth) -> Profile:
    """Read all rows of a data set once for the columns and once for the labels."""
    rows = pl.scan_parquet(
        sorted((truth.folder / "rows").rglob("*.parquet")),
        glob=False,  # the folder's name may hold brackets
        hive_partitioning=True,
        hive_schema={"month": pl.String},
    )
    try:
        schema = rows.collect_schema()
    except (pl.exceptions.ComputeError, OSError) as error:
        raise wrong(
            "the rows are not there", where=str(truth.folder / "rows"),
            expected="the Parquet files of the data set", found=str(error).splitlines()[0],
            fix="synthesize them again",
        ) from error  # fmt: skip
    labels = truth.targets
    numbers = [name for name, target in labels.items() if target.averaged]
    means = [pl.col(name).cast(pl.Float64).mean() for name in numbers]
    by_month = rows.group_by("month").agg(means).sort("month").collect(engine="streaming")
    spreads = [pl.col(name).cast(pl.Float64).std().name.suffix("/spread") for name in numbers]
    overall = rows.select(*means, *spreads).collect(engine="streaming").row(0, named=True)
    return Profile(
        rows=truth.content["rows"],
        months=by_month["month"].to_list(),
        columns=_columns(
            rows,
            {n: t for n, t in schema.items() if n not in labels},
            exact=truth.content["rows"] <= _EXACT_ROWS,
        ),
        shares={n: _shares(rows, n) for n in labels if n not in numbers},
        means={name: _or_nan(overall[name]) for name in numbers},
        spreads={name: _or_nan(overall[f"{name}/spread"]) for name in numbers},
        by_month={name: [_or_nan(mean) for mean in by_month[name]] for name in numbers},
    )


def _columns(
    rows: pl.LazyFrame, schema: dict[str, pl.DataType], *, exact: bool
) -> dict[str, ColumnProfile]:
    lists = {name for name, kind in schema.items() if kind.base_type() == pl.List}
    measured = [pl.len().alias("rows")]
    for name, kind in schema.items():
        column = pl.col(name)
        measured.append(column.null_count().alias(f"{name}/nulls"))
        if name in lists:
            measured.append(column.list.len().mean().alias(f"{name}/mean"))
        else:
            count = column.n_unique() if exact else column.approx_n_unique()
            measured.append(count.alias(f"{name}/distinct"))
            if _type(name, kind) == "number":
                measured.append(column.cast(pl.Float64).mean().alias(f"{name}/mean"))
    numbers = rows.select(measured).collect(engine="streaming").row(0, named=True)
    return {
        name: ColumnProfile(
            type=_type(name, kind),
            missing=numbers[f"{name}/nulls"] / numbers["rows"],
            distinct=numbers.get(f"{name}/distinct"),
            mean=numbers.get(f"{name}/mean"),
        )
        for name, kind in schema.items()
    }


def _type(name: str, kind: pl.DataType) -> str:
    if kind.base_type() == pl.List:
        return "list"
    if kind.is_temporal():
        return "date"
    if kind == pl.String:
        return "text"
    return "id" if name.endswith("_id") or name.startswith(("category_", "item_")) else "number"


def _shares(rows: pl.LazyFrame, label: str) -> list[float]:
    """Of the classes or items, largest first."""
    counts = (
        rows.select(pl.col(label).drop_nulls().alias("value"))
        .group_by("value")
        .len()
        .sort("len", descending=True)
        .collect(engine="streaming")["len"]
    )
    return (counts / max(int(counts.sum()), 1)).to_list()


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
