"""Types of stored columns: parts of one data set that differ, and every type of Arrow."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_mtl.columns.canonical import canonical
from recsys_mtl.data.source import Source
from recsys_mtl.errors import UserError

DAY, NOON = date(2024, 1, 2), datetime(2024, 1, 2, 12)
D = Decimal
INTEGERS, FLOATS = pa.array([1, 3]), pa.array([2.0, None])
HALVES = pa.array(np.array([0.0, np.nan], np.float16))
MONEY = pa.array([D("0.50"), None], pa.decimal128(10, 2))
TEXT = pa.array(["a", None])


def part(values: list[object], kind: pa.DataType) -> pa.Array:
    return pa.array(values, kind)


def read(folder: Path, parts: list[pa.Array], role: str | None) -> pl.Series:
    """The column `x` of files with these parts, as a config with that role reads it."""
    for number, values in enumerate(parts):
        pq.write_table(
            pa.table({"x": values, "row": range(len(values))}), folder / f"{number}.parquet"
        )
    roles = {f"{role}_columns": {"x"}} if role else {}
    source = Source.open("*.parquet", root=folder, **roles)
    return pl.concat([frame for _, frame in source.frames(["row", "x"])])["x"]


NUMBERS = {
    "int64 and float64": ([INTEGERS, FLOATS], [1, 3, 2, None]),
    "int64 and null": ([INTEGERS, pa.nulls(2)], [1, 3, None, None]),
    "null first": ([pa.nulls(1), FLOATS], [None, 2, None]),
    "null only": ([pa.nulls(1), pa.nulls(1)], [None, None]),
    "bool and float16": ([part([True, False], pa.bool_()), HALVES], [1, 0, 0, np.nan]),
    "bool and int8": ([part([True, None], pa.bool_()), part([0], pa.int8())], [1, None, 0]),
    "decimals": ([MONEY, part([D("2.0001")], pa.decimal128(12, 4))], [0.5, None, 2.0001]),
    "decimal and int": ([MONEY, INTEGERS], [0.5, None, 1, 3]),
    "decimal beyond 38 digits": ([part([D("0.5")], pa.decimal256(60, 2)), FLOATS], [0.5, 2, None]),
    "uint64 and int64": ([part([2**64 - 1], pa.uint64()), INTEGERS], [2.0**64, 1, 3]),
    "dictionary": ([part([1, 3, 1], pa.int64()).dictionary_encode(), FLOATS], [1, 3, 1, 2, None]),
    "float32 and float64": ([part([0.5], pa.float32()), FLOATS], [0.5, 2, None]),
}


@pytest.mark.parametrize(("parts", "values"), NUMBERS.values(), ids=NUMBERS)
def test_a_number_is_one_column_of_floats(tmp_path: Path, parts, values) -> None:
    column = read(tmp_path, parts, "number")
    assert column.dtype.is_numeric() or column.dtype == pl.Null
    np.testing.assert_array_equal(np.array(column.to_list(), float), np.array(values, float))


CATEGORIES = {
    "int64 and float64": ([INTEGERS, FLOATS], ["1", "3", "2", None]),
    "long ids": ([part([2**60 + 1], pa.int64()), FLOATS], ["1152921504606846977", "2", None]),
    "int64 and text": ([INTEGERS, part(["3.0", "x"], pa.string())], ["1", "3", "3", "x"]),
    "bool and text": ([part([True], pa.bool_()), part(["True"], pa.string())], ["true", "true"]),
    "bool and float16": ([part([True, None], pa.bool_()), HALVES], ["1", None, "0", None]),
    "decimals": ([MONEY, part([D("2.5000")], pa.decimal128(12, 4))], ["0.5", None, "2.5"]),
    "decimal and text": ([MONEY, part(["0.50", ".5"], pa.string())], ["0.5", None, "0.5", "0.5"]),
    "decimal beyond 38 digits": ([part([D("0.50")], pa.decimal256(60, 2))], ["0.5"]),
    "uint64 and int64": ([part([2**64 - 1], pa.uint64()), INTEGERS], [str(2**64 - 1), "1", "3"]),
    "text of all kinds": (
        [TEXT, TEXT.dictionary_encode(), TEXT.cast(pa.large_string()), TEXT.cast(pa.string_view())],
        ["a", None] * 4,
    ),
    "text and bytes": ([TEXT, part([b"b"], pa.binary())], ["a", None, "b"]),
    "units of time": (
        [part([NOON], pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")],
        ["2024-01-02 12:00:00"] * 4,
    ),
    "a far day in another unit": (
        [part([datetime(9999, 12, 31)], pa.timestamp("us")), part([NOON], pa.timestamp("ns"))],
        ["9999-12-31", "2024-01-02 12:00:00"],
    ),
    "days and times": (
        [part([DAY], pa.date32()), part([NOON], pa.timestamp("ns"))],
        ["2024-01-02", "2024-01-02 12:00:00"],
    ),
    "zones": (
        [part([NOON.replace(tzinfo=UTC)], pa.timestamp("us", z)) for z in ("UTC", "Europe/Berlin")],
        ["2024-01-02 12:00:00+00:00"] * 2,
    ),
    "day and text": (
        [part([DAY], pa.date32()), part(["2024-01-02"], pa.string())],
        ["2024-01-02"] * 2,
    ),
}


@pytest.mark.parametrize(("parts", "texts"), CATEGORIES.values(), ids=CATEGORIES)
def test_a_category_has_its_canonical_text(tmp_path: Path, parts, texts) -> None:
    assert canonical(read(tmp_path, parts, "text")).to_list() == texts


LISTS = {
    "int64 and float64": ([[1, 2], None, []], [[2.0, None]]),
    "int64 and none": ([[1, 2], None, []], [[], [None]]),
    "int64 and text": ([[1, 2], None, []], [["2", "x"], None]),
}


@pytest.mark.parametrize("parts", LISTS.values(), ids=LISTS)
@pytest.mark.parametrize("large", [False, True])
def test_lists_have_one_type_of_entries(tmp_path: Path, parts, large: bool) -> None:
    second = pa.array(parts[1])
    second = second.cast(pa.large_list(second.type.value_type)) if large else second
    column = read(tmp_path, [pa.array(parts[0]), second], "text")
    assert isinstance(column.dtype, pl.List)
    texts = [None if row is None else canonical(pl.Series(row)).to_list() for row in column]
    expected = [
        None if row is None else canonical(pl.Series(row, dtype=kind)).to_list()
        for rows, kind in zip(parts, (pl.Int64, None), strict=True)
        for row in rows
    ]
    assert texts == expected


APART = {
    "text and number": ("number", [INTEGERS, TEXT]),
    "list and text": ("text", [pa.array([["a"]]), TEXT]),
    "with and without a zone": (
        "text",
        [
            part([NOON], pa.timestamp("us")),
            part([NOON.replace(tzinfo=UTC)], pa.timestamp("us", "UTC")),
        ],
    ),
    "a key": (None, [INTEGERS, TEXT]),
    "struct": ("text", [pa.array([{"a": 1}]), TEXT]),
    "durations": ("text", [part([1], pa.duration("s")), part([1], pa.duration("ms"))]),
}


@pytest.mark.parametrize(("role", "parts"), APART.values(), ids=APART)
def test_what_cannot_be_one_column_is_named_in_one_line(tmp_path: Path, role, parts) -> None:
    with pytest.raises(
        UserError, match=r"data.path: columns that cannot be read; .*'x' \("
    ) as error:
        read(tmp_path, parts, role)
    assert len(str(error.value).splitlines()) == 1


def test_a_key_or_time_column_keeps_its_kind(tmp_path: Path) -> None:
    assert read(tmp_path, [INTEGERS, FLOATS], None).to_list() == [1, 3, 2, None]
    days = read(tmp_path, [part([DAY], pa.date32()), part([NOON], pa.timestamp("ms"))], None)
    assert days.to_list() == [datetime(2024, 1, 2), NOON]
