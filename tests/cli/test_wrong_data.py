"""Wrong data end in clear lines, exit code 2 and nothing half-written."""

from __future__ import annotations

import re
from typing import Any

import polars as pl
import pytest

from recsys_mtl.cli.main import main
from tests.wrong_input import (
    INFINITY,
    Spoil,
    both,
    check,
    config,
    csv,
    duplicate_column,
    file,
    files_without_rows,
    job,
    mixed_schemas,
    row,
    rows,
    text,
    time_split,
    truncated,
)

CASES: dict[str, tuple[Spoil, str]] = {
    # files
    "missing file": (
        config("data.path", "toi.parquet"),
        r"data\.path: no such file.*toi\.parquet.*did you mean 'toy\.parquet'",
    ),
    "folder without data": (
        both(config("data.path", "sub"), lambda toy, _: (toy.folder / "sub").mkdir()),
        r"data\.path: no data files at '.*sub'; expected files ending in",
    ),
    "truncated Parquet": (
        truncated,
        r"data\.path: cannot read '.*toy\.parquet'; expected a whole Parquet file; found .* -> ",
    ),
    "text that is called Parquet": (
        file("toy.parquet", "age,income\n1,2\n"),
        r"data\.path: cannot read '.*toy\.parquet'; expected a whole Parquet file",
    ),
    "mixed schemas": (
        mixed_schemas,
        r"found 'age' \(double in '.*a\.parquet', large_string in '.*b\.parquet'\) -> write the",
    ),
    "duplicate column": (
        duplicate_column,
        r"duplicate column name in '.*toy\.parquet'.*found 'age' -> rename",
    ),
    "empty CSV": (
        both(file("toy.csv", ""), config("data.path", "toy.csv")),
        r"data\.path: cannot read '.*toy\.csv'; expected a CSV file with a header.*[Ee]mpty",
    ),
    "CSV without rows": (
        both(csv(), file("toy.csv", "age,income\n")),
        r"data\.path: no rows in '.*toy\.csv'; expected at least one row -> give",
    ),
    "CSV with text in a number": (
        csv(age="forty"),
        r"column 'age' of '.*toy\.csv' cannot be read as .*'forty' in row 7 .*-> correct",
    ),
    "CSV that is no UTF-8": (
        both(file("toy.csv", b"age,city\n1,\xff\xfe\n"), config("data.path", "toy.csv")),
        r"data\.path: column 'city' of '.*toy\.csv' is not text in UTF-8 -> save",
    ),
    # columns
    "missing column": (
        config("features.agee", {"kind": "numeric"}),
        r"features\.agee: missing column; expected a column 'agee'.*did you mean 'age'",
    ),
    "missing weight column": (
        both(config("data.weight", "weight"), config("data.ignore", ["customer", "day", "imp*"])),
        r"data\.weight: missing column; expected a column 'weight'",
    ),
    "column not mentioned": (
        rows(pl.lit(1).alias("surprise")),
        r"data\.path: columns not mentioned; expected .*; found surprise -> add .* data\.ignore",
    ),
    "text in a numeric feature": (
        rows(text("age")),
        r"column 'age': wrong type; expected numbers or booleans; found String -> store",
    ),
    "number where a list is expected": (
        rows(pl.lit(3).alias("seen")),
        r"column 'seen'.*; expected .*list.*found Int32 -> make it",
    ),
    "list where a category is expected": (
        rows(pl.col("seen").alias("city")),
        r"column 'city': lists in a single-valued column; .*found List\(String\) -> store one",
    ),
    "infinite value": (
        rows(row(11, "income", INFINITY)),
        r"column 'income': infinite value; .*found inf in row 11 .* -> make it null",
    ),
    "infinite value in a held-out row, streamed": (
        both(
            rows(row(9, "income", INFINITY)),
            config("data.loading", "stream"),
            time_split("day", valid_from="2024-01-20", test_from="2024-02-10"),
        ),
        r"column 'income': infinite value; .*found inf in row 9 ",
    ),
    "negative weight": (
        rows(row(11, "importance", -0.5)),
        r"data\.weight: column 'importance': not a weight; .*found -0\.5 in row 11 .*-> ",
    ),
    "no weight": (
        rows(row(11, "importance", None)),
        r"data\.weight: column 'importance': not a weight; .*found None in row 11 .*-> ",
    ),
    # labels
    "all-null label": (
        rows(pl.lit(None, pl.Float64).alias("spend")),
        r"tasks\.spend: label column 'spend': no label in the training rows; .*-> ",
    ),
    "empty sample space": (
        config("tasks.buy.only_where", "click == 2"),
        r"tasks\.buy: label column 'buy': no label in the training rows; .*only_where.*-> ",
    ),
    "label outside its classes": (
        rows(row(11, "band", "huge")),
        r"tasks\.band: label column 'band': label outside its classes; expected one of: "
        r"high, low, mid; found 'huge' in row 11 .* -> ",
    ),
    "binary label that is no yes or no": (
        rows(row(11, "click", 7)),
        r"tasks\.click: label column 'click': not a yes/no label; .*found 7 in row 11 .*-> name",
    ),
    "one-class label": (
        rows(pl.lit(0).alias("buy")),
        r"tasks\.buy: label column 'buy': the label has only one class.*found only '0' -> ",
    ),
    "text as a regression label": (
        rows(pl.lit("much").alias("spend")),
        r"tasks\.spend: label column 'spend': wrong type; expected numbers.*found String -> ",
    ),
    "infinite regression label": (
        rows(row(11, "spend", INFINITY)),
        r"tasks\.spend: label column 'spend': infinite value; .*found inf in row 11 .*-> ",
    ),
    "label is a feature too": (
        config("tasks.age", {"kind": "regression"}),
        r"toy\.yaml:\d+: tasks\.age: label column 'age' is also a feature -> drop the feature",
    ),
    # splits
    "split by files, one without rows": (
        files_without_rows,
        r"data\.split\.test: no rows in '.*none\.parquet'; expected at least one row",
    ),
    "empty split": (
        time_split("day", valid_from="2024-01-20", test_from="2025-01-01"),
        r"data\.split \(kind time\): no rows in test; .*test 0 -> move data\.split",
    ),
    "group column is null": (
        both(
            rows(row(11, "customer", None)),
            config("data.ignore", ["day"]),
            config("data.split", {"kind": "group", "column": "customer"}),
        ),
        r"data\.split\.column: column 'customer' is null in row 11 .*-> ",
    ),
    "group column is missing": (
        config("data.split", {"kind": "group", "column": "custmer"}),
        r"data\.split\.column: missing column; expected a column 'custmer'; .*mean 'customer'",
    ),
    "time column cannot be read": (
        both(rows(pl.lit("someday").alias("day")), time_split("day")),
        r"data\.split\.column: column 'day' cannot be read as time; .*found 'someday' in row 0 -> ",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_wrong_data(
    name: str, toy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(toy.folder)
    check(toy, CASES[name], capsys)


@pytest.mark.parametrize("name", ["missing column", "one-class label", "negative weight"])
def test_validate_reports_the_same(name: str, toy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, expected = CASES[name]
    check(toy, (both(spoil, job("validate", "FOLDER/toy.yaml")), expected), capsys)


def test_several_problems_are_as_many_lines(toy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    changes = (text("age"), row(11, "importance", -1.0), row(11, "band", "huge"))
    toy.rows().with_columns(changes).write_parquet(toy.data)
    assert main(["train", str(toy.folder / "toy.yaml"), "--out", str(toy.folder / "out")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("error: ") for line in lines)
    for line, expected in zip(lines, ("'age'", "tasks\\.band", "data\\.weight"), strict=True):
        assert re.search(expected, line)
