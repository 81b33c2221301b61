"""A few rows are encoded from Python values; `Preprocessor.encode` is the slow literal version."""

from __future__ import annotations

import math
import random
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from pydantic import TypeAdapter

from recsys_mtl.columns.few import FewColumns, FewValues
from recsys_mtl.columns.vocabulary import Vocabulary
from recsys_mtl.config.features import FeatureConfig
from recsys_mtl.config.tasks import TaskConfig
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.few_rows import encode_few
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.errors import UserError
from recsys_mtl.serving.pandas_rows import few_values, to_polars
from recsys_mtl.serving.predictor import schema_of

CATEGORY, LISTS = {"kind": "categorical"}, {"kind": "categorical_list"}
FEATURES = TypeAdapter(dict[str, FeatureConfig]).validate_python(
    {
        "city": CATEGORY | {"null_values": ["-", "7"]},
        "code": CATEGORY,
        "hashed": CATEGORY | {"encoding": "hash", "buckets": 11, "null_values": ["5"]},
        "row": CATEGORY | {"encoding": "id", "rows": 9},
        "row_or_null": CATEGORY | {"encoding": "id", "rows": 9, "null_values": ["3"]},
        "seen": LISTS | {"max_length": 2, "length": True},
        "tags": LISTS | {"separator": "|", "pooling": "sum", "share_of": "seen"},
        "watched": {
            "kind": "sequence",
            "max_length": 2,
            "length": True,
            "attributes": {"type": CATEGORY, "age": {"kind": "numeric"}},
        },
        "opened": {"kind": "sequence", "newest": "first", "max_length": 2},
        "bins": {"kind": "numeric", "transform": {"name": "piecewise", "bins": 3}},
        "plain": {"kind": "numeric", "transform": "standardize"},
        "log": {"kind": "numeric", "transform": "log1p"},
        "ranked": {"kind": "numeric", "transform": "quantile"},
        "as_is": {"kind": "numeric", "transform": "none"},
        "missing": {"kind": "numeric", "transform": "standardize", "null_values": [-9, "none"]},
    }
)
TASKS = TypeAdapter(dict[str, TaskConfig]).validate_python({"click": {"kind": "binary"}})
WORDS = [
    *("a", "b", "3", "3.0", "-0", " 7 ", "1e3", "True", "nan", "", "-", "none", "Köln", "7|b"),
    *("2024-01-31T00:00:00Z", "2024-01-31 10:00:00.50", "08:00:00.5", "x|b|", "||", "inf"),
]
INTEGERS = [*range(-3, 12), 10**9, 2**53 + 1, -(2**63), 2**63, 2**200]
FLOATS = [0.0, -0.0, 0.1, 1.5, 3.0, 7.0, -9.0, 1e18, 1e300, 5e-324, math.nan, math.inf]
OTHERS = [{}, date(2024, 1, 31), Decimal("1.50"), (1, 2), pd.NA, np.float32(0.1), [[1]]]
POOLS: list[list[Any]] = [WORDS, INTEGERS, FLOATS, [True, False]]
POOLS.append([*WORDS, *INTEGERS, *FLOATS, *OTHERS])


class Draw:
    """Values of a random column."""

    def __init__(self, seed: int) -> None:
        self.of = random.Random(seed)

    def value(self, pool: list[Any]) -> Any:
        return None if self.of.random() < 0.1 else self.of.choice(pool)

    def entries(self, pool: list[Any]) -> list[Any]:
        return [self.value(pool) for _ in range(self.of.randrange(5))]

    def ordinary(self, name: str) -> Any:
        if name in ("seen", "watched", "opened"):
            return self.value([self.entries(WORDS)])
        return self.value(WORDS if name in ("code", "tags") else INTEGERS[:16])

    def anything(self, rows: int) -> list[Any]:
        pool, many = self.of.choice(POOLS), self.of.choice([0.0, 0.1, 1.0])
        return [
            self.value([self.entries(pool)]) if self.of.random() < many else self.value(pool)
            for _ in range(rows)
        ]


@pytest.fixture(scope="module")
def preprocessor() -> Preprocessor:
    count = 40
    words = [w for w in WORDS if w not in ("", "||")]
    own = {
        "city": [[*range(9), 10**9, 2**53 + 1][i % 11] for i in range(count)],
        "code": [words[i % len(words)] for i in range(count)],
        "hashed": [i % 7 for i in range(count)],
        "row": [i % 9 for i in range(count)],
        "row_or_null": [i % 9 for i in range(count)],
        "seen": [[j % 5 for j in range(i % 4)] for i in range(count)],
        "tags": ["|".join("ab7"[: i % 4]) for i in range(count)],
        "watched": [["ab3"[j] for j in range(i % 4)] for i in range(count)],
        "type": [[j * 1.5 for j in range(i % 4)] for i in range(count)],
        "age": [[float(i + j) for j in range(i % 4)] for i in range(count)],
        "opened": [list(range(i % 4)) for i in range(count)],
        "click": [i % 2 for i in range(count)],
    }
    numbers = {
        name: [None if i % 9 == 8 else float(i**2 % 17 - 3) for i in range(count)]
        for name in ("bins", "plain", "log", "ranked", "as_is", "missing")
    }
    frame = pl.DataFrame(own | numbers)
    return Preprocessor.fit([frame], FEATURES, TASKS, weight=None, default_dim=4)


def same(preprocessor: Preprocessor, columns: FewColumns, rows: int, raw: Any) -> None:
    """Both encodings are equal, or fail with the same message."""

    def outcome(encode: Any) -> Batch | str:
        try:
            return encode()
        except UserError as error:
            return str(error)

    expected = outcome(lambda: preprocessor.encode(raw(), labels=False))
    got = outcome(lambda: encode_few(preprocessor, columns, rows, raw))
    if isinstance(expected, str) or isinstance(got, str):
        assert got == expected
        return
    assert got.blocks.keys() == expected.blocks.keys()
    for layout, block in expected.blocks.items():
        tensors = got.blocks[layout].tensors()
        assert got.blocks[layout].names == block.names
        for name, tensor in block.tensors().items():
            assert tensors[name].dtype == tensor.dtype
            assert torch.equal(tensors[name], tensor), name
    assert got.labels.isnan().all()
    assert got.labels.shape == expected.labels.shape
    assert torch.equal(got.weights, expected.weights)


def check_rows(preprocessor: Preprocessor, columns: dict[str, list[Any]]) -> None:
    """As Python values, and as the frame that these make."""
    rows = len(next(iter(columns.values())))
    schema = schema_of(preprocessor)

    exact = pd.DataFrame({n: pd.Series(values, dtype=object) for n, values in columns.items()})

    def raw() -> pl.DataFrame:
        return to_polars(exact, schema)

    few = {name: FewValues.of(values) for name, values in columns.items()}
    same(preprocessor, few, rows, raw)
    inferred = pd.DataFrame({name: pd.Series(values) for name, values in columns.items()})
    same(preprocessor, few_values(inferred), rows, lambda: to_polars(inferred, schema))
    try:
        frame = raw()
    except UserError:
        return
    read = {name: FewValues.read(frame[name]) for name in frame.columns}
    same(preprocessor, read, rows, lambda: frame)


@pytest.mark.parametrize("seed", range(8))
def test_random_rows(preprocessor: Preprocessor, seed: int) -> None:
    draw = Draw(seed)
    rows = draw.of.randint(1, 3)
    columns: dict[str, list[Any]] = {}
    for name in preprocessor.columns(labels=False):
        columns[name] = [draw.ordinary(name) for _ in range(rows)]
    for name in ("type", "age"):
        columns[name] = [[draw.value(FLOATS[:-1]) for _ in v or ()] for v in columns["watched"]]
    check_rows(preprocessor, columns)
    name = draw.of.choice([*columns])
    check_rows(preprocessor, columns | {name: draw.anything(rows)})


TYPES: list[pl.Series] = [
    pl.Series([3, None, 2**64 - 1], dtype=pl.UInt64),
    pl.Series([3, None, -1], dtype=pl.Int8),
    pl.Series([0.1, 3.0, None], dtype=pl.Float32),
    pl.Series([0.1, 3.0, None], dtype=pl.Float16),
    pl.Series([date(2024, 1, 31), None, None]),
    pl.Series([datetime(2024, 1, 31, tzinfo=UTC), None, None]),
    pl.Series(["3", None, "a"], dtype=pl.Categorical),
    pl.Series([Decimal("1.50"), None, Decimal(3)]),
    pl.Series([None, None, None]),
    pl.Series([b"3", None, b"a"]),
    pl.Series([[1.5], None, [3.0]], dtype=pl.List(pl.Float32)),
    pl.Series([[1, 2], [3, 4], [5, 6]], dtype=pl.Array(pl.Int64, 2)),
    pl.Series([float("inf"), 1.0, None]),
]


@pytest.mark.parametrize("values", TYPES, ids=lambda values: str(values.dtype))
@pytest.mark.parametrize("name", ["code", "row", "seen", "plain"])
def test_columns_of_other_types(preprocessor: Preprocessor, name: str, values: pl.Series) -> None:
    lists = {n for n, f in FEATURES.items() if f.kind in ("categorical_list", "sequence")}
    ordinary = {
        n: pl.Series([[], [], []], dtype=pl.List(pl.Int64)) if n in lists | {"type", "age"}
        else pl.Series([1, 2, 3])
        for n in preprocessor.columns(labels=False)
    }  # fmt: skip
    frame = pl.DataFrame(ordinary | {name: values})
    few = {n: FewValues.read(frame[n]) for n in frame.columns}
    same(preprocessor, few, 3, lambda: frame)


def test_a_missing_column(preprocessor: Preprocessor) -> None:
    with pytest.raises(UserError, match="missing column"):
        encode_few(preprocessor, {}, 1, lambda: pl.DataFrame({"city": [1]}))


def test_remembered_values_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys_mtl.columns.coder._REMEMBERED", 3)
    coder = Vocabulary([], values=["a", "1.5"])
    for number in range(10):
        assert coder.codes_of_few(["a", f"x{number}", "1.50"]) == [2, 0, 3]
        assert len(coder._seen) <= 3
