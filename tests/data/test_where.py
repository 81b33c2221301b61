from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
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
        "small": pl.Series([0.1, 0.2, None, 0.3], dtype=pl.Float32),
        "tiny": pl.Series([100, 1, None, -1], dtype=pl.Int8),
        "list": [[1], [], None, [2, 3]],
        "source": ["(direct)", "Halle(Saale)", "50%", "x/y"],
        "not": [1, 2, 3, 4],
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
        ("click = 1", [1, 0, 0, 1]),
        ("click <> 1", [0, 1, 0, 0]),
        ("click == 1 or country == AT", [1, 1, 0, 1]),
        ("x > 1 or click == 1 and country == DE", [1, 0, 1, 0]),
        ("(x > 1 or click == 1) and country == DE", [1, 0, 0, 0]),
        ("not click == 1", [0, 1, 0, 0]),
        ("not (click == 1 or x > 1)", [0, 0, 0, 0]),
        ("not (click == 1 and x > 1)", [1, 1, 0, 1]),
        ("NOT click = 1 OR NOT ok = TRUE", [0, 1, 0, 0]),
        ("android in (1, 3)", [1, 0, 1, 0]),
        ("android not in (1,3)", [0, 1, 0, 1]),
        ("country in (DE, 'New Zealand')", [1, 0, 0, 1]),
        ("country not in (DE, 'New Zealand')", [0, 1, 0, 0]),
        ("mixed in (2, -10)", [0, 1, 0, 1]),
        ("mixed in (2, 'n/a')", [0, 1, 1, 0]),
        ("small in (0.1, 7)", [1, 0, 0, 0]),
        ("small = 0.1", [1, 0, 0, 0]),
        ("id in (9007199254740993)", [0, 1, 0, 0]),
        ("android between 2 and 3", [0, 1, 1, 0]),
        ("android not between 2 and 3", [1, 0, 0, 1]),
        ("day between 2024-01-02 and 2024-01-03 or click == 1", [1, 1, 1, 1]),
        ("click is null", [0, 0, 1, 0]),
        ("x is null or country is null", [0, 1, 1, 0]),
        ("list is not null", [1, 1, 0, 1]),
        ("android * 2 > 5", [0, 0, 1, 1]),
        ("android % 2 = 0", [0, 1, 0, 1]),
        ("android / 2 = 1.5", [0, 0, 1, 0]),
        ("2 * android - 1 <= x + 3", [1, 0, 1, 0]),
        ("tiny + tiny = 200", [1, 0, 0, 0]),
        ("android > x * 2", [0, 0, 0, 1]),
        ("click < `android`", [0, 1, 0, 1]),
        ("country = `country`", [1, 1, 0, 1]),
        ("flag = `ok`", [1, 1, 0, 1]),
        ("source == (direct)", [1, 0, 0, 0]),
        ("(source == (direct) or source == Halle(Saale))", [1, 1, 0, 0]),
        ("source != 50% and source != x/y", [1, 1, 0, 0]),
        ("not == 1", [1, 0, 0, 0]),
        ("tiny < 1000", [1, 1, 0, 1]),
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
        ("click === 1", 9, "a value"),
        ("click <=> 1", 9, "a value"),
        ("click == ", 10, "a value"),
        ("click == 'open", 10, "a value"),
        ("click == New Zealand", 14, "`and`, `or` or the end"),
        ("click == 1 xor x == 2", 12, "`and`, `or` or the end"),
        ("click == 1 and", 12, "`and`, `or` or the end"),
        ("(click == 1", 12, "`and`, `or` or `)`"),
        ("(click == 1))", 13, "`and`, `or` or the end"),
        ("click == 1 or ", 15, "a column name"),
        ("click in 1", 10, "`(`"),
        ("click in ()", 11, "a value"),
        ("click in (1", 12, "`,` or `)`"),
        ("click between 1 or 2", 17, "`and`"),
        ("click not 1", 11, "`in` or `between`"),
        ("click is 1", 10, "`null` or `not null`"),
        ("click + 'a' > 1", 9, "a number or a column name"),
        ("lower(country) == 'de'", 6, "one of == !="),
        ("country == 'a' || 'b'", 16, "`and`, `or` or the end"),
        ("click == 1; drop table x", 13, "`and`, `or` or the end"),
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


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("click==1", "click  =  1", True),
        ("click = 1 AND x > 2", "click == 1 and x>2", True),
        ("click == 1", "click == '1'", False),
        ("click == 1 or x > 2", "click == 1 and x > 2", False),
        ("click in (1, 2)", "click in (1,2)", True),
    ],
)
def test_conditions_that_read_the_same_are_equal(one: str, other: str, same: bool) -> None:
    conditions = {parse(one, "a"), parse(other, "b")}
    assert len(conditions) == (1 if same else 2)


def test_many_values_are_quick(rng: np.random.Generator) -> None:
    values = rng.integers(0, 10**6, 3_000)
    frame = pl.DataFrame({"id": np.arange(10**6)})
    mask = parse(f"id in ({', '.join(map(str, values))})", "w").mask(frame)
    assert mask.arg_true().to_list() == sorted(set(values.tolist()))


def test_what_cannot_be_calculated() -> None:
    with pytest.raises(UserError, match=r"a column of numbers; found the Date column 'day'"):
        parse("day + 1 > 2", "w").mask(FRAME)
    with pytest.raises(UserError, match="found 'x' -> write a column on the right in backticks"):
        parse("click > x", "w").mask(FRAME)


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


ZONED = [datetime(2024, 1, 3, hour, 30, tzinfo=UTC) for hour in (4, 5, 22, 23)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ts >= 2024-01-03T05:30:00Z", [0, 1, 1, 1]),
        ("ts == '2024-01-03 06:30:00+01:00'", [0, 1, 0, 0]),
        ("ts between 2024-01-03T05:00:00Z and 2024-01-03T23:00:00+00:00", [0, 1, 1, 0]),
        ("ts >= 2024-01-04", [0, 0, 0, 1]),  # midnight of the column's own zone
        ("ts == `elsewhere`", [1, 1, 1, 1]),
        ("ts >= `wall`", [1, 1, 1, 1]),  # texts, as one column has no zone
        ("ts >= `day`", [1, 1, 1, 1]),
        ("ts == `local`", [1, 1, 1, 1]),
        ("text != 'abc+00:00'", [1, 1, 1, 1]),
        ("text in ('2024-01-03T05:30Z', '1.5')", [0, 1, 0, 0]),
        ("number in ('2024-01-03T05:30Z', '1.5')", [0, 0, 1, 0]),
        ("text >= 2024-01-03T05:30:00Z", [0, 1, 1, 1]),
        ("ts >= 2024-01-03T05:30Z", [0, 1, 1, 1]),
        ("wall < 2024-01-03T06:30", [1, 0, 0, 0]),
        ("wall between 2024-01-03T06:30 and 2024-01-03T23:30", [0, 1, 1, 0]),
        ("wall >= 2024-01-04T00:00", [0, 0, 0, 1]),
        ("minutes == 2024-01-03T06:30:00", [0, 1, 0, 0]),
        ("minutes == `wall`", [1, 1, 1, 1]),
        ("minutes == `spelt`", [1, 1, 1, 1]),
    ],
)
def test_moments_compare_whatever_their_zones(text: str, expected: list[int]) -> None:
    utc = pl.Series(ZONED, dtype=pl.Datetime("us", "UTC"))
    frame = pl.DataFrame(
        {
            "ts": utc.dt.convert_time_zone("Europe/Berlin"),
            "elsewhere": utc.dt.convert_time_zone("America/New_York"),
            "text": [m.astimezone(timezone(timedelta(hours=2))).isoformat() for m in ZONED],
            "number": ["1.50", "NaN", "1.5", ""],
        }
    ).with_columns(
        wall=pl.col("ts").dt.replace_time_zone(None),
        day=pl.col("ts").dt.date(),
        local=pl.col("ts").cast(pl.String),
        minutes=pl.col("ts").dt.strftime("%Y-%m-%d %H:%M"),
        spelt=pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S"),
    )
    assert parse(text, "here").mask(frame).to_list() == [bool(one) for one in expected]
