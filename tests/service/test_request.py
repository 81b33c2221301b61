from __future__ import annotations

import json
from typing import Any

import pytest

from recsys_mtl.errors import UserError
from recsys_mtl.service.model import LoadedModel
from recsys_mtl.service.request import Column, Rows, has_more_rows

ROWS = Rows(
    [
        Column("age", numbers=True),
        Column("city"),
        Column("seen", is_list=True),
        Column("tags", is_list=True, separator="|"),
        Column("paid", numbers=True, is_list=True),
    ]
)
ONE = {"age": 3, "city": "x"}


@pytest.mark.parametrize(
    "values",
    [
        {"age": None, "city": None, "seen": None, "tags": None, "paid": None},
        {"age": 1.5, "city": 7, "seen": ["a", 3, None, True], "tags": "a|b", "paid": [1, None]},
        {"city": True, "tags": ["a"], "seen": []},
        {"city": 2**70},
        {"city": 1.0},
    ],
)
def test_values_are_kept(values: dict[str, Any]) -> None:
    row = ONE | values
    (read,) = ROWS.read(json.dumps({"rows": [row | {"other": [{}]}]}).encode())
    assert read == row
    assert {k: type(v) for k, v in read.items() if k != "age"} == {
        k: type(v) for k, v in row.items() if k != "age"
    }


@pytest.mark.parametrize(
    ("content", "more"),
    [
        ({"rows": [{}] * 3}, True),
        ({"rows": [ONE] * 2}, False),
        ({"rows": [{"city": '{"\\ {[{{'}] * 2}, False),
        ({"rows": [{"other": [{}, {"a": [{}]}]}] * 2}, False),
        ({"rows": [{"other": [{}, {"a": [{}]}]}] * 3}, True),
        ([{}], False),
    ],
)
def test_rows_are_counted_before_they_are_parsed(content: object, more: bool) -> None:
    assert has_more_rows(json.dumps(content).encode(), 2) == more


TEXT = "text, a number, true, false or null"
WHERE = "row 1 (counted from 0), column"


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ({"age": "old"}, f"{WHERE} 'age': wrong value; expected a number or null; found \"old\""),
        ({"age": True}, f"{WHERE} 'age': wrong value; expected a number or null; found true"),
        ({"age": [1]}, f"{WHERE} 'age': wrong value; expected a number or null; found [1]"),
        ({"city": {}}, f"{WHERE} 'city': wrong value; expected {TEXT}; found {{}}"),
        ({"seen": "a"}, f"{WHERE} 'seen': wrong value; expected a list of {TEXT}; found \"a\""),
        ({"seen": [[1]]}, f"{WHERE} 'seen': wrong value; expected a list of {TEXT}; found [1]"),
        (
            {"tags": 3},
            f"{WHERE} 'tags': wrong value; expected a list of {TEXT}, or text with |; found 3",
        ),
        (
            {"paid": ["a"]},
            f"{WHERE} 'paid': wrong value; expected a list of a number or null; found \"a\"",
        ),
        ({"city": "x" * 99 + "\n"}, ""),
    ],
)
def test_the_first_wrong_value_is_named(row: dict[str, Any], line: str) -> None:
    body = json.dumps({"rows": [ONE, ONE | row, {}]}).encode()
    with pytest.raises(UserError) as caught:
        ROWS.read(body)
    missing = "row 2 (counted from 0), column 'age': missing column; expected a number or null"
    assert str(caught.value) == (line or missing)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"", "the body: not JSON; found EOF while parsing a value at line 1 column 0"),
        (b"\xff", "the body: not JSON; found expected value at line 1 column 1"),
        (b"[" * 9999, "the body: not JSON; found recursion limit exceeded at line 1 column 202"),
        (b"[]", 'the body: no rows; expected {"rows": [{"COLUMN": VALUE, ...}, ...]}; found []'),
        (
            b"{}",
            'the body: no rows; expected {"rows": [{"COLUMN": VALUE, ...}, ...]}; found no rows',
        ),
        (
            b'{"rows": 3}',
            'the body: no rows; expected {"rows": [{"COLUMN": VALUE, ...}, ...]}; found 3',
        ),
        (
            b'{"rows": [3]}',
            "row 0 (counted from 0): not an object; expected columns; found 3",
        ),
        (
            b'{"rows": [{"age": 1e999, "city": null}]}',
            "row 0 (counted from 0), column 'age': wrong value; expected a number or null;"
            " found Infinity",
        ),
        (
            b'{"rows": [{"city": NaN, "age": 1}]}',
            f"row 0 (counted from 0), column 'city': wrong value; expected {TEXT}; found NaN",
        ),
    ],
)
def test_what_is_no_request_is_refused_in_one_line(body: bytes, line: str) -> None:
    with pytest.raises(UserError) as caught:
        ROWS.read(body)
    assert str(caught.value) == line


def test_a_long_value_is_cut() -> None:
    with pytest.raises(UserError) as caught:
        ROWS.read(json.dumps({"rows": [{"age": "x" * 999, "city": 1}]}).encode())
    assert len(str(caught.value)) < 200


def test_columns_are_those_of_the_model(model: LoadedModel) -> None:
    number, text = "a number or null", TEXT
    assert {name: column.expected for name, column in model.rows.columns.items()} == {
        "city": text,
        "customer": text,
        "member": text,
        "visited": f"a list of {text}",
        "bought": f"a list of {text}",
        "tags": f"a list of {text}, or text with |",
        "age": number,
        "history": number,
    }
    schema = model.rows.json_schema()["properties"]["rows"]["items"]
    assert set(schema["required"]) == {"city", "customer", "member", "age", "history"}
    assert [one["type"] for one in schema["properties"]["age"]["anyOf"]] == ["number", "null"]
    body = json.dumps(model.rows.example()).encode()
    assert model.rows.read(body) == model.rows.example()["rows"]
