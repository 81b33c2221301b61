"""A column of every type of Arrow."""

from __future__ import annotations

import itertools
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

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
    "large_list_view": ("list", of(pa.large_list_view(pa.int64()), [[1, 2], [3]]), "1"),
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
