from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_mtl.columns.canonical import (
    canonical,
    canonical_texts,
    factorize,
    natural_order,
    require_category,
)
from recsys_mtl.columns.coder import UNKNOWN_ROW
from recsys_mtl.columns.hashed import HashBuckets
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.vocabulary import Vocabulary
from recsys_mtl.config.tasks import BinaryConfig, MulticlassConfig
from recsys_mtl.data.source import Source
from recsys_mtl.errors import UserError
from recsys_mtl.serving.pandas_rows import to_polars
from recsys_mtl.tasks import kind_of
from recsys_mtl.tasks.multiclass import MulticlassLabel


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pl.Series([3, -7, None]), ["3", "-7", None]),
        (pl.Series([3.0, -0.0, 2.5, float("nan"), None]), ["3", "0", "2.5", None, None]),
        (pl.Series([0.1, 3.0], dtype=pl.Float32), ["0.1", "3"]),
        (
            pl.Series([0.1, 65504.0, 6e-8, None, float("inf")], dtype=pl.Float16),
            ["0.1", "65504", "6e-8", None, "inf"],
        ),
        (pl.Series([1e20, float("inf")]), ["1e+20", "inf"]),
        (pl.Series([True, False, None]), ["true", "false", None]),
        (
            pl.Series([" a", "", "1.10", "007", "v1.0", None]),
            [" a", "", "1.10", "007", "v1.0", None],
        ),
        (pl.Series(["3.0", "-3.00", "-0.0", "3."]), ["3", "-3", "0", "3."]),
        (pl.Series(["True", "FALSE", "false", "tRUE"]), ["true", "false", "false", "tRUE"]),
        (pl.Series(["b", "a", None], dtype=pl.Categorical), ["b", "a", None]),
        (pl.Series([Decimal("3.00"), Decimal("0.50"), Decimal("100.00")]), ["3", "0.5", "100"]),
        (pl.Series([date(2024, 2, 29)]), ["2024-02-29"]),
        (pl.Series([None, None]), [None, None]),
    ],
)
def test_canonical_text(values, texts):
    assert canonical(values).to_list() == texts


def test_times_have_one_text_whatever_their_unit_and_separator():
    midnight, later = datetime(2024, 1, 2), datetime(2024, 1, 2, 3, 4, 5)
    moments = pl.Series([midnight, later, later.replace(microsecond=120_000), None])
    texts = ["2024-01-02", "2024-01-02 03:04:05", "2024-01-02 03:04:05.12", None]
    assert canonical(moments).to_list() == texts
    assert canonical(moments.dt.cast_time_unit("ms")).to_list() == texts
    for written in ("%Y-%m-%dT%H:%M:%S%.6f", "%Y-%m-%d %H:%M:%S%.3f"):
        assert canonical(moments.dt.strftime(written)).to_list() == texts
    zoned = ["2024-01-02 00:00:00+00:00", "2024-01-02 03:04:05.12+00:00"]
    assert canonical(moments.dt.replace_time_zone("UTC"))[[0, 2]].to_list() == zoned
    for zone in ("Z", "+0000", " UTC", "+00:00"):
        text = pl.Series([f"2024-01-02T00:00:00.000{zone}", f"2024-01-02 03:04:05.120{zone}"])
        assert canonical(text).to_list() == zoned


MIXED = pl.DataFrame(
    {
        "count": [3, None, 10, 3, -2, 10],
        "flag": [True, False, None, True, True, False],
        "moment": [datetime(2024, 1, d, 12 * (d % 2)) for d in (1, 2, 3, 1, 2, 3)],
        "ratio": [1.0, 2.0, None, 2.5, 1.0, -0.0],
        "price": [Decimal(p) for p in ("0.50", "1.25", "3.00", "0.50", "10.90", "-7.10")],
        "tiny": [1e-5, 2.5e-7, 0.1, 1e20, None, 3.0],
        "single": pl.Series([0.1, 1e-7, None, 2.5, 16777216.0, 0.1], dtype=pl.Float32),
        "name": ["a", "True", "2.0", None, "007", "2024-01-01T00:00:00"],
    }
)


@pytest.mark.parametrize("fitted_on", ["csv", "parquet", "json"])
@pytest.mark.parametrize("encoding", ["lookup", "hash"])
def test_csv_parquet_and_json_have_the_same_codes(
    tmp_path: Path, fitted_on: str, encoding: str
) -> None:
    MIXED.write_csv(tmp_path / "rows.csv")
    MIXED.write_parquet(tmp_path / "rows.parquet")
    columns = MIXED.columns
    rows = pd.DataFrame(json.loads(json.dumps(MIXED.to_dicts(), default=str)))
    read = {"json": to_polars(rows, dict.fromkeys(columns, pl.String()))}
    for kind in ("csv", "parquet"):
        source = Source.open(
            f"rows.{kind}",
            root=tmp_path,
            fmt="auto",
            text_columns=set(columns),
            number_columns=set(),
            where="data.path",
        )
        read[kind] = pl.concat([frame for _, frame in source.frames(columns)])
    null_values = canonical_texts(["-2.0"])
    for column in columns:
        made = (
            Vocabulary(null_values) if encoding == "lookup" else HashBuckets(null_values, 997, True)
        )
        made.update(read[fitted_on][column])
        made.finish()
        codes = {kind: made.codes(frame[column]).tolist() for kind, frame in read.items()}
        assert codes["csv"] == codes["parquet"] == codes["json"], column
        assert UNKNOWN_ROW not in codes["csv"], column
        assert len(set(codes["csv"])) == canonical(MIXED[column]).n_unique() - (column == "count")


@given(st.lists(st.one_of(st.none(), st.integers(-(2**53), 2**53))))
def test_an_integer_has_the_same_text_as_float(numbers):
    integers = pl.Series(numbers, dtype=pl.Int64)
    assert canonical(integers.cast(pl.Float64)).to_list() == canonical(integers).to_list()


@given(st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "", "é"]))))
def test_factorize_restores_the_values(values):
    indices, distinct = factorize(pl.Series(values, dtype=pl.String))
    assert [distinct[int(i)] for i in indices] == values
    assert distinct.n_unique() == len(distinct)


@pytest.mark.parametrize(
    ("texts", "order"),
    [
        (["10", "9", "-1", "0"], ["-1", "0", "9", "10"]),
        (["grade 10", "grade 2"], ["grade 2", "grade 10"]),
        (["b", "a", "1"], ["1", "a", "b"]),
        (["01", "1"], ["01", "1"]),
    ],
)
def test_natural_order(texts, order):
    assert natural_order(texts) == order


@pytest.mark.parametrize(
    "values", [pl.Series([[1]]), pl.Series([{"a": 1}]), pl.Series([b"x"], dtype=pl.Binary)]
)
def test_types_without_a_text_are_refused(values):
    with pytest.raises(UserError, match="column 'x'"):
        require_category(values, "column 'x'")


def test_a_config_names_values_as_a_column_does():
    classes = MulticlassConfig(kind="multiclass", classes=["1.0", "2"], null_values=["TRUE"])
    label = kind_of("multiclass").label("t", classes)
    assert isinstance(label, MulticlassLabel)
    assert (label.classes, label.null_values) == (["1", "2"], ["true"])
    positive = kind_of("binary").label("t", BinaryConfig(kind="binary", positive="True"))
    encoded = positive.encode(pl.Series([True, False, None]), Rows(0, 3))
    assert encoded[:2].tolist() == [1.0, 0.0]
