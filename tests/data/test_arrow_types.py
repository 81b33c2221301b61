"""Every type of Arrow in every role of a config: read right, or one line that names the column."""

from __future__ import annotations

import itertools
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_mtl.columns.canonical import canonical
from recsys_mtl.config.schema import Config
from recsys_mtl.data.prepare import prepare
from recsys_mtl.data.source import Source
from recsys_mtl.errors import UserError

ROWS = 300
NUMBERS = list(range(20))
MONEY = [Decimal(cents) / 4 for cents in (2, *range(20))]
DAYS = [date(2024, 1, 2) + timedelta(days) for days in range(20)]
MOMENTS = [datetime(2024, 1, 2, 12) + timedelta(days, milliseconds=days) for days in range(20)]
TIMES = [time(3, 0, second) for second in range(20)]
WORDS = [f"w{number}" for number in NUMBERS]
PAIRS = [["a", "b"], ["c", "a"]]
HALF = ROWS // 2


def of(kind: pa.DataType, values: list[Any]) -> pa.Array:
    """A column of these values in turn, every ninth null."""
    rows = itertools.islice(itertools.cycle(values), ROWS)
    return pa.array([None if row % 9 == 8 else value for row, value in enumerate(rows)], kind)


def extension(kind: Any, storage: pa.Array) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, storage)


TEXT, CODES = of(pa.string(), WORDS), of(pa.int8(), NUMBERS)
LONG = pa.decimal256(60, 2)
EVERY = ("s", "ms", "us", "ns")
INTEGERS = (pa.int8, pa.int16, pa.int32, pa.int64, pa.uint8, pa.uint16, pa.uint32, pa.uint64)
UNION = [pa.array(range(ROWS)), pa.array(["a"] * ROWS)]
UNION_TYPES = pa.array([0, 1] * HALF, pa.int8())

COLUMNS: dict[str, tuple[str, pa.Array, str | None]] = {
    "null": ("null", pa.nulls(ROWS), None),
    "bool": ("truth", of(pa.bool_(), [True, False]), "true"),
    **{str(kind()): ("number", of(kind(), NUMBERS), "0") for kind in INTEGERS},
    "int8 of 0 and 1": ("truth", of(pa.int8(), [1, 0]), "1"),
    "float16 of 0 and 1": ("truth", of(pa.float32(), [1, 0]).cast(pa.float16()), "1"),
    "float16": ("number", of(pa.float32(), [0.1, *NUMBERS]).cast(pa.float16()), "0.1"),
    "float32": ("number", of(pa.float32(), [0.1, *NUMBERS]), "0.1"),
    "float64": ("number", of(pa.float64(), [0.1, *NUMBERS]), "0.1"),
    "decimal32": ("number", of(pa.decimal32(6, 2), MONEY), "0.5"),
    "decimal64": ("number", of(pa.decimal64(12, 2), MONEY), "0.5"),
    "decimal128": ("number", of(pa.decimal128(38, 2), MONEY), "0.5"),
    "decimal256": ("number", of(pa.decimal256(38, 2), MONEY), "0.5"),
    "long decimal256": ("number", of(LONG, MONEY), "0.5"),
    "string": ("text", TEXT, "w0"),
    "large_string": ("text", TEXT.cast(pa.large_string()), "w0"),
    "string_view": ("text", TEXT.cast(pa.string_view()), "w0"),
    "binary": ("text", TEXT.cast(pa.binary()), "w0"),
    "large_binary": ("text", TEXT.cast(pa.large_binary()), "w0"),
    "binary_view": ("text", TEXT.cast(pa.binary_view()), "w0"),
    "fixed_size_binary": ("text", of(pa.binary(2), [b"w%x" % n for n in range(16)]), "w0"),
    "bytes that are no text": ("", of(pa.binary(), [b"\xff", b"\xfe"]), None),
    "date32": ("moment", of(pa.date32(), DAYS), "2024-01-02"),
    "date64": ("moment", of(pa.date64(), DAYS), "2024-01-02"),
    "time32[s]": ("category", of(pa.time32("s"), TIMES), "03:00:00"),
    "time32[ms]": ("category", of(pa.time32("ms"), TIMES), "03:00:00"),
    "time64[us]": ("category", of(pa.time64("us"), TIMES), "03:00:00"),
    "time64[ns]": ("category", of(pa.time64("ns"), TIMES), "03:00:00"),
    **{
        f"timestamp[{unit}]": ("moment", of(pa.timestamp(unit), MOMENTS), "2024-01-02 12:00:00")
        for unit in EVERY
    },
    **{
        f"timestamp[us, {zone}]": ("moment", of(pa.timestamp("us", zone), MOMENTS), text)
        for zone, text in (
            ("UTC", "2024-01-02 12:00:00+00:00"),
            ("Europe/Berlin", "2024-01-02 13:00:00+01:00"),
            ("+02:00", "2024-01-02 14:00:00+02:00"),
        )
    },
    "day out of range": ("", of(pa.int32(), [2**31 - 1]).cast(pa.date32()), None),
    "moment out of range": ("", of(pa.int64(), [2**62]).cast(pa.timestamp("ms")), None),
    **{
        f"duration[{unit}]": ("other", of(pa.duration(unit), [timedelta(1)]), None)
        for unit in EVERY
    },
    "month_day_nano": ("", of(pa.month_day_nano_interval(), [(1, 2, 3)]), None),
    "list": ("list", of(pa.list_(pa.string()), PAIRS), "a"),
    "large_list": ("list", of(pa.large_list(pa.int64()), [[1, 2], [3], []]), "1"),
    "list_view": ("list", of(pa.list_view(pa.string()), PAIRS), "a"),
    "large_list_view": ("", of(pa.large_list_view(pa.int64()), [[1, 2], [3]]), None),
    "fixed_size_list": ("list", pa.array(PAIRS * HALF, pa.list_(pa.string(), 2)), "a"),
    "fixed_size_list with nulls": ("", of(pa.list_(pa.string(), 2), PAIRS), None),
    "list of dictionary": ("list", of(pa.list_(pa.dictionary(pa.int8(), pa.string())), PAIRS), "a"),
    "list of binary": ("list", of(pa.list_(pa.binary()), [[b"a"], [b"b", b"c"]]), "a"),
    "list of decimal": ("list", of(pa.list_(pa.decimal128(9, 2)), [MONEY]), "0.5"),
    "list of nothing": ("list", of(pa.list_(pa.null()), [[None], []]), None),
    "list of lists": ("other", of(pa.list_(pa.list_(pa.int64())), [[[1]], []]), None),
    "list of structs": ("other", of(pa.list_(pa.struct([("a", pa.int64())])), [[{"a": 1}]]), None),
    "list of long decimals": ("", of(pa.list_(LONG), [[Decimal(1)], []]), None),
    "struct": ("other", of(pa.struct([("a", pa.int64())]), [{"a": 1}, {"a": 2}]), None),
    "struct of long decimals": ("", of(pa.struct([("a", LONG)]), [{"a": 1}]), None),
    "map": ("other", of(pa.map_(pa.string(), pa.int64()), [[("a", 1)], [("b", 2)]]), None),
    "dense_union": (
        "",
        pa.UnionArray.from_dense(UNION_TYPES, pa.array(range(ROWS), pa.int32()), UNION),
        None,
    ),
    "sparse_union": ("", pa.UnionArray.from_sparse(UNION_TYPES, UNION), None),
    "dictionary of text": ("text", TEXT.dictionary_encode(), "w0"),
    "dictionary of numbers": ("number", of(pa.int64(), NUMBERS).dictionary_encode(), "0"),
    "ordered dictionary": (
        "text",
        pa.DictionaryArray.from_arrays(CODES, WORDS, ordered=True),
        "w0",
    ),
    "run_end_encoded": (
        "text",
        pa.RunEndEncodedArray.from_arrays(pa.array([ROWS], pa.int32()), ["a"]),
        "a",
    ),
    "uuid": (
        "category",
        extension(pa.uuid(), of(pa.binary(16), [bytes(range(i, i + 16)) for i in range(20)])),
        "00010203-0405-0607-0809-0a0b0c0d0e0f",
    ),
    "json": (
        "category",
        extension(pa.json_(), of(pa.string(), [f"[{n}]" for n in NUMBERS])),
        "[0]",
    ),
    "bool8": ("truth", extension(pa.bool8(), of(pa.int8(), [1, 0])), "true"),
    "tensor": (
        "list",
        extension(
            pa.fixed_shape_tensor(pa.float32(), [2]),
            pa.array([[1, 2]] * ROWS, pa.list_(pa.float32(), 2)),
        ),
        "1",
    ),
    "opaque": ("text", extension(pa.opaque(pa.string(), "geometry", "postgis"), TEXT), "w0"),
}
"""Name → what it can be used as, the column, and the text of its first value as a category."""

BESIDE: dict[str, Any] = {
    "features": {"age": {"kind": "numeric"}},
    "tasks": {"y": {"kind": "binary"}},
}
FEATURES: dict[str, Any] = {
    "numeric": {"kind": "numeric"},
    "piecewise": {"kind": "numeric", "transform": "piecewise"},
    "category": {"kind": "categorical"},
    "hash": {"kind": "categorical", "encoding": "hash", "buckets": 9},
    "category_list": {"kind": "categorical_list"},
}
TASKS: dict[str, Any] = {
    "binary": {"kind": "binary"},
    "positive": {"kind": "binary", "positive": "w1"},
    "multiclass": {"kind": "multiclass"},
    "retrieval": {"kind": "retrieval"},
    "regression": {"kind": "regression"},
    "sentinel": {"kind": "regression", "null_values": ["9"]},
    "count": {"kind": "count"},
    "where_number": {"kind": "binary", "label": "y", "only_where": "where_number == 1"},
    "where_text": {"kind": "binary", "label": "y", "only_where": "where_text == 'w1'"},
    "where_null": {"kind": "binary", "label": "y", "only_where": "where_null is not null"},
}
DATA: dict[str, Any] = {
    "ignored": {"ignore": ["ignored"]},
    "weight": {"weight": "weight"},
    "group": {"split": {"kind": "group", "column": "group"}},
    "time": {"split": {"kind": "time", "column": "time"}},
}
NUMBER = {"numeric", "piecewise", "regression", "sentinel", "count", "weight"}
CATEGORY = {"category", "hash", "multiclass", "retrieval", "group", "where_null"}
WORKS = {
    "number": NUMBER | CATEGORY | {"time", "where_number"},
    "truth": (NUMBER | CATEGORY | {"binary", "where_number"}) - {"group"},
    "text": CATEGORY | {"positive", "where_text"},
    "category": CATEGORY,
    "moment": CATEGORY | {"time"},
    "list": {"category_list", "where_null"},
    "null": {"numeric", "piecewise", "category", "hash", "category_list"},
    "other": {"where_null"},
    "": set(),
}
"""The roles in which a column can be used, by what it can be used as."""
NOT_IN_PARQUET = {"month_day_nano", "dense_union", "sparse_union", "run_end_encoded"}
NAMES = sorted(COLUMNS.keys() - NOT_IN_PARQUET)


def write(folder: Path, columns: dict[str, pa.Array]) -> None:
    beside = {
        "age": pa.array(range(ROWS)),
        "y": pa.array([row * 37 % 11 % 2 for row in range(ROWS)]),
    }
    pq.write_table(pa.table(columns | beside), folder / "rows.parquet")


def refused(folder: Path, **sections: Any) -> list[str]:
    """The problems of a config."""
    data = {"path": "rows.parquet", "root": str(folder)} | sections.pop("data", {})
    both = {name: sections.get(name, {}) | BESIDE[name] for name in BESIDE}
    try:
        prepare(Config.model_validate({"name": "types", "data": data} | both))
    except UserError as error:
        return str(error).splitlines()
    return []


def named(problems: list[str], roles: set[str]) -> set[str]:
    """The roles that problems name; all of them where the file cannot be read."""
    lines = "\n".join(problems)
    if "cannot be read" in lines or "cannot read" in lines or "of '" in lines:
        return roles
    return {role for role in roles if f"'{role}'" in lines or f"tasks.{role}" in lines}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_column_is_read_or_refused_in_one_line(tmp_path: Path, name: str) -> None:
    use, column, _ = COLUMNS[name]
    both = {*FEATURES, *TASKS}
    write(tmp_path, dict.fromkeys(both, column))
    problems = refused(tmp_path, features=FEATURES, tasks=TASKS)
    assert len(problems) <= len(both)
    works = both - named(problems, both)
    assert works == WORKS[use] & both, problems
    write(tmp_path, dict.fromkeys(works, column))
    sections = ({k: v for k, v in kind.items() if k in works} for kind in (FEATURES, TASKS))
    assert refused(tmp_path, **dict(zip(("features", "tasks"), sections, strict=True))) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_column_of_the_data_section_likewise(tmp_path: Path, name: str) -> None:
    use, column, _ = COLUMNS[name]
    known = [row for row, valid in enumerate(column.is_valid().to_pylist()) if valid] or [0]
    rows = [known[row % len(known)] for row in range(ROWS)]
    if "view" in name:  # pyarrow cannot take rows of a view
        full = pa.array(map(column.to_pylist().__getitem__, rows), column.type)
    else:
        full = column.take(pa.array(rows))
    for role, data in DATA.items():
        write(tmp_path, {role: full})
        problems = refused(tmp_path, data=data)
        assert len(problems) <= 1
        assert (problems == []) == (role in WORKS[use] | {"ignored"}), problems
        assert all(role in problem or "rows.parquet'" in problem for problem in problems)


@pytest.mark.parametrize("name", [name for name in NAMES if COLUMNS[name][2]])
def test_a_category_has_its_text(tmp_path: Path, name: str) -> None:
    use, column, text = COLUMNS[name]
    write(tmp_path, {"x": column})
    source = Source.open("rows.parquet", root=tmp_path, text_columns={"x"})
    values = pl.concat([frame["x"] for _, frame in source.frames(["x"])])
    values = values.explode(empty_as_null=False, keep_nulls=False) if use == "list" else values
    assert canonical(values)[0] == text


def test_every_type_is_in_the_list() -> None:
    known = {getattr(pa.lib, name) for name in dir(pa.lib) if name.startswith("Type_")}
    unbuilt = {pa.lib.Type_INTERVAL_MONTHS, pa.lib.Type_INTERVAL_DAY_TIME}
    assert {column.type.id for _, column, _ in COLUMNS.values()} >= known - unbuilt


@pytest.mark.parametrize("name", sorted(NOT_IN_PARQUET))
def test_a_parquet_file_cannot_hold(tmp_path: Path, name: str) -> None:
    with pytest.raises(pa.ArrowNotImplementedError):
        write(tmp_path, {"x": COLUMNS[name][1]})
