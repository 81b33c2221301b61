from __future__ import annotations

from datetime import date, datetime

import polars as pl
import pytest

from recsys_mtl.data.where import check, parse
from recsys_mtl.errors import UserError

FRAME = pl.DataFrame(
    {
        "click": [1, 0, None, 1],
        "x": [0.5, float("nan"), 2.0, -1.0],
        "ok": [True, False, None, True],
        "country": ["DE", "AT", None, "New Zealand"],
        "my col": ["1", "2", "3", "10"],
        "day": [date(2024, 1, d) for d in (1, 2, 3, 4)],
        "mixed": [None, "2.0", "n/a", "-1e1"],
        "word": ["nan", "inf", None, "x"],
        "flag": ["true", "False", None, "TRUE"],
        "id": ["9007199254740992", "9007199254740993", None, "1"],
        "android": [1, 2, 3, 4],
    }
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("click == 1", [1, 0, 0, 1]),
        ("click==1", [1, 0, 0, 1]),
        (" click == 'true' ", [1, 0, 0, 1]),
        ("click != 1", [0, 1, 0, 0]),
        ("click == 1.0", [1, 0, 0, 1]),
        ("x > -1", [1, 0, 1, 0]),
        ("x>=-1e0", [1, 0, 1, 1]),
        ("x != 2", [1, 0, 0, 1]),
        ("ok == true", [1, 0, 0, 1]),
        ("ok == 0", [0, 1, 0, 0]),
        ("ok == False", [0, 1, 0, 0]),
        ("country == DE", [1, 0, 0, 0]),
        ("country != DE", [0, 1, 0, 1]),
        ("country == 'New Zealand'", [0, 0, 0, 1]),
        ('country == "New Zealand"', [0, 0, 0, 1]),
        ("country < B", [0, 1, 0, 0]),
        ("`my col` == 1", [1, 0, 0, 0]),
        ("`my col` < '2'", [1, 0, 0, 1]),
        ("`my col` < 3", [1, 1, 0, 0]),
        ("mixed >= 2", [0, 1, 0, 0]),
        ("mixed != 2", [0, 0, 0, 1]),
        ("mixed == 'n/a'", [0, 0, 1, 0]),
        ("word == nan", [1, 0, 0, 0]),
        ("flag == true", [1, 0, 0, 1]),
        ("flag == 0", [0, 1, 0, 0]),
        ("flag == 'True'", [1, 0, 0, 1]),
        ("id == 9007199254740993", [0, 1, 0, 0]),
        ("day >= 2024-01-03", [0, 0, 1, 1]),
        ("click == 1 and x > 0", [1, 0, 0, 0]),
        ("click <= 1 and x < 3 and country != AT", [1, 0, 0, 1]),
        ("android >= 2 and android < 4", [0, 1, 1, 0]),
    ],
)
def test_mask(text: str, expected: list[int]) -> None:
    mask = parse(text, "tasks.t.only_where").mask(FRAME)
    assert mask.dtype == pl.Boolean
    assert mask.to_list() == [bool(e) for e in expected]


def test_columns_are_named_once() -> None:
    condition = parse("`my col` == 1 and click > 0 and click < 2", "w")
    assert condition.columns == ("my col", "click")


def test_an_empty_frame_gives_an_empty_mask() -> None:
    assert parse("click == 1", "w").mask(FRAME.head(0)).to_list() == []


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("", 1, "a column name"),
        ("click", 6, "one of == !="),
        ("click = 1", 7, "one of == !="),
        ("click === 1", 9, "a value"),
        ("click <> 1", 7, "one of == !="),
        ("click == ", 10, "a value"),
        ("click == 'open", 10, "a value"),
        ("click == New Zealand", 14, "`and` or the end"),
        ("click == 1 or x == 2", 12, "`and` or the end"),
        ("click == 1 and", 12, "`and` or the end"),
        ("click == 1 and ", 16, "a column name"),
        ("__import__('os')", 11, "one of == !="),
        ("1 == click", 1, "a column name"),
    ],
)
def test_a_text_that_is_no_condition(text: str, position: int, expected: str) -> None:
    with pytest.raises(UserError) as error:
        parse(text, "c.yaml: tasks.t.only_where")
    message = str(error.value)
    assert message.startswith("c.yaml: tasks.t.only_where: ")
    assert f"at character {position};" in message
    assert f"expected {expected}" in message
    assert "\n" not in message


def test_a_number_column_compares_with_numbers_only() -> None:
    with pytest.raises(
        UserError, match=r"a number to compare with the Int64 column 'click'.*'yes'"
    ):
        parse("click == yes", "w").mask(FRAME)


@pytest.mark.parametrize(
    ("column", "dtype"),
    [([[1], [2]], pl.List(pl.Int64)), ([1, 2], pl.Duration), ([[1], [2]], pl.Array(pl.Int64, 1))],
)
def test_columns_without_single_values_are_refused(column: object, dtype: pl.DataType) -> None:
    frame = pl.DataFrame({"c": pl.Series(column, dtype=dtype)})
    with pytest.raises(UserError, match=r"w: `c == 1` .*column of single values") as error:
        parse("c == 1", "w").mask(frame)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "band >= 2",
        "band == 2",
        "band != 2",
        "ok == true",
        "ok == 1",
        "ok != 0",
        "day >= 2024-01-02",
        "day == '2024-01-02T12:00:00'",
        "x < 10.5",
    ],
)
def test_csv_and_parquet_agree(text: str) -> None:
    """A CSV column that is a feature too arrives as text."""
    frame = pl.DataFrame(
        {
            "band": [1, 2, 10, None],
            "ok": [True, False, True, None],
            "day": [datetime(2024, 1, 1), datetime(2024, 1, 2, 12), datetime(2024, 1, 3), None],
            "x": [9.0, 10.5, 100.25, None],
        }
    )
    condition = parse(text, "w")
    as_text = pl.read_csv(frame.write_csv().encode(), infer_schema=False)
    expected = condition.mask(frame).to_list()
    assert condition.mask(as_text).to_list() == expected
    assert 0 < sum(expected) < 3


def test_an_unknown_column_gets_the_nearest_name() -> None:
    condition = parse("clik == 1", "w")
    with pytest.raises(UserError, match=r"unknown column 'clik'.*did you mean 'click'"):
        check(condition, FRAME.columns, "tasks.t")
    with pytest.raises(UserError, match="unknown column 'clik'"):
        condition.mask(FRAME)
    check(parse("click == 1", "w"), FRAME.columns, "w")
