"""Every wrong CSV, and every wrong key about columns, is one line with exit code 2."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys_mtl.cli.main import main

CONFIG: dict[str, Any] = {
    "name": "wrong",
    "data": {"path": "a.csv", "csv": {}, "split": {"kind": "time", "column": "day"}},
    "features": {"age": {"kind": "numeric"}, "city": {"kind": "categorical"}},
    "tasks": {"click": {"kind": "binary"}},
}
HEADER = "age,city,day,click"
LINES = [f"{20 + i % 40}.5,c{i % 5},2024-01-{1 + i % 28:02d},{i % 3 % 2}" for i in range(200)]
Case = tuple[dict[str, Any], list[str], str]

pytestmark = pytest.mark.usefixtures("no_real_data")


def csv(**keys: Any) -> dict[str, Any]:
    return {"data.csv": keys}


def line(text: str, index: int = 100) -> list[str]:
    """The file with one other row."""
    return [HEADER, *LINES[:index], text, *LINES[index:]]


FILE = [HEADER, *LINES]
GERMAN = [text.replace(",", ";").replace(".", ",") for text in FILE]
CASES: dict[str, Case] = {
    "an Excel file": (
        {},
        ["PK\x03\x04\0\0\0"],
        r"expected a CSV file; found an Excel .*save it as CSV",
    ),
    "a Parquet file": ({}, ["PAR1\x15\0\0"], r"found a Parquet file -> set data\.format: parquet"),
    "a CSV of another name": (
        {"data.path": "a.dat"},
        FILE,
        r"expected a whole Parquet file.*if it is CSV, set data\.format: csv",
    ),
    "semicolons": ({}, GERMAN, r"a single column; .* set data\.csv\.delimiter: ';'"),
    "tabs": ({}, [t.replace(",", "\t") for t in FILE], r"set data\.csv\.delimiter: 'tab'"),
    "decimal commas": (csv(delimiter=";"), GERMAN, r"'20,5' in row 0 .* data\.csv\.decimal: ','"),
    "decimal points": (
        csv(delimiter="|", decimal=","),
        [t.replace(",", "|") for t in FILE],
        r"'20\.5' in row 0 .* data\.csv\.decimal: '\.'",
    ),
    "no header": ({}, LINES, r"does not hold the names .* data\.csv: \{header: false"),
    "other names": (
        {},
        ["Age,City,Day,Click", *LINES],
        r"data\.split\.column: missing column|missing column",
    ),
    "too few names": (csv(header=False, columns=["a"]), LINES, r"expected 4 names.*; found 1"),
    "a name twice": ({}, ["age,age,day,click", *LINES], r"duplicate column name.*found 'age'"),
    "names in Latin-1": ({}, ["age,größe,day,click", *LINES], r"not text in UTF-8 .*'cp1252'"),
    "values in Latin-1": ({}, line("1,Köln,2024-01-01,0"), r"column 'city' .*'cp1252'"),
    "a wrong encoding": (csv(encoding="utf-16"), FILE, r"not text in utf-16 .*'utf-8'"),
    "an unknown encoding": (csv(encoding="latin-99"), FILE, r"csv\.encoding: .*'latin-99'"),
    "a long delimiter": (csv(delimiter="||"), FILE, r"csv\.delimiter: .*one character"),
    "an empty delimiter": (csv(delimiter=""), FILE, r"csv\.delimiter: .*one character"),
    "delimiter and decimal": (csv(delimiter=",", decimal=","), FILE, "are the same character"),
    "no columns": (csv(header=False), LINES, "header: false needs columns"),
    "an unknown key": (csv(delimter=";"), FILE, "unknown key -> did you mean 'delimiter'"),
    "a word in a number": ({}, line("many,c1,2024-01-01,0"), "'many' in row 100 .*null_values"),
    "a short row": ({}, line("1,c1"), r"Expected 4 columns, got 2"),
    "a long row": ({}, line("1,c1,2024-01-01,0,5"), r"Expected 4 columns, got 5"),
    "a word in a time": ({}, line("1,c1,soon,0"), r"column 'day' cannot be read as time.*'soon'"),
    "a blank time": ({}, line("1,c1, ,0"), r"column 'day'.*' ' in row 100"),
    "a word in a label": ({}, line("1,c1,2024-01-01,perhaps"), r"not a yes/no label.*'perhaps'"),
    "a number beyond float64": ({}, line("1e999,c1,2024-01-01,0"), r"infinite value|beyond"),
    "positive that never occurs": (
        {"tasks.click.positive": ["Yes", "ja"]},
        FILE,
        r"positive matches no labelled training row; expected 'Yes' or 'ja'; found '0' \(",
    ),
    "a pattern without columns": (
        {"features.hot_*": {"kind": "numeric"}},
        FILE,
        r"features\.hot_\*: the pattern matches no column",
    ),
    "a column that is not there": (
        {"features.band": {"kind": "categorical", "column": "agee"}},
        FILE,
        r"features\.band: missing column; expected a column 'agee'.* did you mean 'age'",
    ),
    "a feature that reads the label": (
        {"features.band": {"kind": "categorical", "column": "click"}},
        FILE,
        r"label column 'click' is also a feature",
    ),
    "null_values that are no list": (
        {"features.age.null_values": "unknown"},
        FILE,
        r"features\.age\.null_values: wrong type; expected a list of texts",
    ),
    "a list among null_values": (
        {"features.age.null_values": [[1]]},
        FILE,
        r"features\.age\.null_values\.0: wrong type; expected text",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changes, lines, expected = CASES[name]
    document = copy.deepcopy(CONFIG)
    for path, value in changes.items():
        section, *keys = path.split(".")
        holder = document[section]
        for key in keys[:-1]:
            holder = holder[key]
        holder[keys[-1]] = value
    monkeypatch.chdir(tmp_path)
    content = "\n".join(lines).encode("cp1252" if "Latin" in name else "utf-8")
    Path(document["data"]["path"]).write_bytes(content)
    Path("c.yaml").write_text(yaml.safe_dump(document))
    assert main(["validate", "c.yaml", "--out", "out"]) == 2
    errors = [row for row in capsys.readouterr().err.splitlines() if row.startswith("error: ")]
    assert any(re.search(expected, row) for row in errors), errors
    assert not list(Path("out").glob("*"))
