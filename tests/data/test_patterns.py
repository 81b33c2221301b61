"""Patterns of features: which columns each one takes, in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys_mtl.config.schema import Config
from recsys_mtl.data.patterns import expanded
from recsys_mtl.data.prepare import prepare
from recsys_mtl.errors import UserError

NUMBER, CATEGORY = {"kind": "numeric"}, {"kind": "categorical", "dim": 4}
COLUMNS = ["day", "hot_b", "hot_a", "age", "size", "id", "w", "hot_label", "what?", "click"]


@pytest.fixture(params=["rows.parquet", "rows.csv", "rows.tsv"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    rows = {c: [float(i % 2) for i in range(100)] for c in COLUMNS}
    frame = pl.DataFrame(rows | {"w": [1.0] * 100, "day": list(range(50)) * 2})
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path, separator="\t" if path.suffix == ".tsv" else ",")
    return path


def config(path: Path, features: dict[str, Any], **data: Any) -> Config:
    return Config.model_validate(
        {
            "name": "patterns",
            "data": {"path": path.name, "root": str(path.parent), "ignore": ["id*"], "weight": "w"}
            | {"split": {"kind": "group", "column": "day", "valid": 0.4, "test": 0.3}}
            | data,
            "features": features,
            "tasks": {"click": {"kind": "binary"}, "hot": {"kind": "binary", "label": "hot_label"}},
        }
    )


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"hot_*": CATEGORY}, {"hot_b": 1, "hot_a": 1}),
        ({"age": NUMBER, "hot_?": CATEGORY}, {"age": 0, "hot_b": 1, "hot_a": 1}),
        ({"hot_b": NUMBER, "hot_*": CATEGORY}, {"hot_b": 0, "hot_a": 1}),
        ({"hot_*": CATEGORY, "hot_b": NUMBER}, {"hot_a": 1, "hot_b": 0}),
        ({"*_a": NUMBER, "hot_*": CATEGORY}, {"hot_a": 0, "hot_b": 1}),
        ({"what?": NUMBER, "hot_*": CATEGORY}, {"what?": 0, "hot_b": 1, "hot_a": 1}),
        ({"band": {**CATEGORY, "column": "age"}, "a*": NUMBER}, {"band": 1, "age": 0}),
        (
            {"size": {"kind": "sequence", "attributes": {"hot_a": NUMBER}}, "hot_*": NUMBER},
            {"size": 0, "hot_b": 0},
        ),
        (
            {"*": NUMBER, "size": CATEGORY},
            {"hot_b": 0, "hot_a": 0, "age": 0, "what?": 0, "size": 1},
        ),
    ],
)
def test_a_pattern_takes_the_columns_that_have_no_other_role(
    path: Path, features: dict[str, Any], expected: dict[str, int]
) -> None:
    sections = expanded(config(path, features)).features
    assert {name: int(f.kind == "categorical") for name, f in sections.items()} == expected
    assert list(sections) == list(expected)


def test_without_a_pattern_no_file_is_opened(tmp_path: Path) -> None:
    plain = config(tmp_path / "absent.parquet", {"age": NUMBER, "what?": {**NUMBER, "column": "x"}})
    assert expanded(plain) is plain


def test_every_pattern_that_matches_nothing_is_named(path: Path) -> None:
    with pytest.raises(UserError) as error:
        expanded(config(path, {"age": NUMBER, "hto_*": CATEGORY, "hot_l*": NUMBER}))
    lines = str(error.value).splitlines()
    assert [line.split(": ")[0] for line in lines] == ["features.hto_*", "features.hot_l*"]
    assert all("the pattern matches no column" in line for line in lines)


def test_a_run_with_patterns_is_prepared(path: Path) -> None:
    made = expanded(config(path, {"hot_*": CATEGORY, "*": NUMBER}))
    assert prepare(made).preprocessor.columns(labels=False) == [
        "hot_b",
        "hot_a",
        "age",
        "size",
        "what?",
    ]


def test_a_wrong_delimiter_is_guessed_before_the_pattern_is_blamed(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(";".join(COLUMNS) + "\n" + ";".join("1" * len(COLUMNS)))
    with pytest.raises(UserError, match=r"data\.csv\.delimiter: ';'"):
        expanded(config(tmp_path / "rows.csv", {"hot_*": CATEGORY}))
