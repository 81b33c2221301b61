"""CSV files as people write them: read right, or refused in one line that says what to set."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from recsys_mtl.config.csv import CsvConfig, with_settings
from recsys_mtl.config.load import config_from_yaml
from recsys_mtl.data import csv as csv_module
from recsys_mtl.data.prepare import prepare
from recsys_mtl.data.source import Source
from recsys_mtl.errors import UserError

ROWS = [(1.5, "Köln", 0), (None, "Ulm", 1), (-2.0, None, 1)]
GERMAN = {"delimiter": ";", "decimal": ","}
NO_HEADER = {"header": False, "columns": ["x", "city", "y"]}
TEXT = "x,city,y\n1.5,Köln,0\n,Ulm,1\n-2,,1\n"

pytestmark = pytest.mark.usefixtures("no_real_data")


def open_(path: Path, **options: Any) -> Source:
    options = {
        "number_columns": {"x"},
        "text_columns": {"city"},
        "inferred_columns": {"y"},
    } | options
    config = CsvConfig.model_validate(options.pop("csv", {}))
    return Source.open(path.name, root=path.parent, where="data.path", csv=config, **options)


def read(path: Path, columns: tuple[str, ...] = ("x", "city", "y"), **options: Any) -> list[Any]:
    source = open_(path, **options)
    frames = [frame for _, frame in source.frames(list(columns))]
    assert source.num_rows == sum(frame.height for frame in frames)
    return pl.concat(frames).rows()


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as error:
        read(path, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "csv"),
    [
        ("a.csv", TEXT.encode(), {}),
        ("a.csv", TEXT.encode("utf-8-sig"), {}),
        ("a.csv", TEXT.replace("\n", "\r\n").encode(), {}),
        ("a.csv", ("\n\n" + TEXT).encode(), {}),
        ("a.csv", TEXT.encode("cp1252"), {"encoding": "cp1252"}),
        ("a.csv", TEXT.encode("utf-16"), {"encoding": "utf-16"}),
        ("a.csv", TEXT.replace(",", ";").replace(".", ",").encode(), GERMAN),
        ("a.csv", TEXT.replace(",", "|").encode(), {"delimiter": "|"}),
        ("a.txt", TEXT.replace(",", "\t").encode(), {"delimiter": "tab"}),
        ("a.tsv", TEXT.replace(",", "\t").encode(), {}),
        ("a.tsv.gz", gzip.compress(TEXT.replace(",", "\t").encode(), mtime=0), {}),
        ("a.csv.gz", gzip.compress(TEXT.encode(), mtime=0), {}),
        ("a.gz", gzip.compress(TEXT.encode(), mtime=0), {}),
        ("a.csv", gzip.compress(TEXT.encode(), mtime=0), {}),
        ("a.csv.bz2", bz2.compress(TEXT.encode()), {}),
        ("a.csv", TEXT.split("\n", 1)[1].encode(), NO_HEADER),
        ("a.csv", TEXT.replace("x,", "whatever,", 1).encode(), {"columns": ["x", "city", "y"]}),
        ("a.csv", b",x,city,y\n0,1.5,K\xc3\xb6ln,0\n1,,Ulm,1\n2,-2,,1\n", {}),
        ("a.csv", b"x,city,y,\n1.5,K\xc3\xb6ln,0,\n,Ulm,1,\n-2,,1,\n", {}),
        ("a.csv", b",x,,city,y\n0,1.5,,K\xc3\xb6ln,0\n1,,,Ulm,1\n2,-2,,,1\n", {}),
        ("a.csv", b" x, city ,y\n1.5,K\xc3\xb6ln,0\n,Ulm,1\n-2,,1\n", {}),
        ("a.csv", b'"x","city","y"\n"1.5","K\xc3\xb6ln","0"\n"","Ulm","1"\n" -2 ","","1"\n', {}),
        ("a.csv", b"x,city,y\n1.5,K\xc3\xb6ln,0\n ?,Ulm,1\n-2, ? ,1\n", {"null_values": ["?"]}),
        ("a.csv", TEXT.replace("\n,", "\n-999,").encode(), {"null_values": ["-999"]}),
    ],
)  # fmt: skip
def test_the_same_rows_however_they_are_written(
    tmp_path: Path, name: str, content: bytes, csv: dict[str, Any]
) -> None:
    (tmp_path / name).write_bytes(content)
    assert read(tmp_path / name, csv=csv) == ROWS


def test_numbers_as_people_write_them(tmp_path: Path) -> None:
    fields = [
        "1",
        " 2 ",
        '" 3"',
        "",
        " ",
        "NA",
        " null ",
        "NaN",
        "True",
        "FALSE",
        "1e3",
        "+5",
        ".5",
    ]
    (tmp_path / "a.csv").write_text("x,city\n" + "".join(f"{field},u\n" for field in fields))
    (numbers,) = zip(*read(tmp_path / "a.csv", ("x",)), strict=True)
    expected = [1, 2, 3, None, None, None, None, None, 1, 0, 1000, 5, 0.5]
    assert [None if x is None or x != x else x for x in numbers] == expected


def test_text_and_numbers_of_one_column(tmp_path: Path) -> None:
    """A feature that reads text and numbers gets a decimal point; a plain text keeps its comma."""
    (tmp_path / "a.csv").write_text("x;city\n1,5;1,5\n?;a,b\n")
    options = {"text_columns": {"x", "city"}, "csv": {"delimiter": ";", "decimal": ","}}
    assert read(tmp_path / "a.csv", ("x", "city"), **options) == [("1.5", "1,5"), ("?", "a,b")]


@pytest.mark.parametrize(
    ("late", "kind"),
    [
        ("2.5", pl.Float64),
        ("x7", pl.String),
        ("01234", pl.String),
        (" -01", pl.String),
        ("+5", pl.String),
        ("123456789012345678901", pl.String),
        ("9223372036854775807", pl.Int64),
        ("0", pl.Int64),
        ("0.5", pl.Float64),
        (" 7 ", pl.Int64),
        ("1e3", pl.Float64),
        ("2024-01-01", pl.String),
        (" ", pl.Float64),
        ("True", pl.Float64),
        ("", pl.Int64),
        ("7", pl.Int64),
    ],
)
def test_a_column_has_the_type_of_all_its_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: str, kind: pl.DataType
) -> None:
    """Groups, times and conditions are read as what they are, not as the file begins."""
    monkeypatch.setattr(csv_module, "BLOCK_BYTES", 64)
    lines = ["y,ignored", *["1,1"] * 100, f"{late},\udcff", *["3,1"] * 100]
    (tmp_path / "a.csv").write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    source = open_(tmp_path / "a.csv", number_columns=frozenset(), text_columns=frozenset())
    frame = pl.concat([frame for _, frame in source.frames(["y"])])
    assert frame.schema["y"] == kind
    assert frame.height == source.num_rows == 201
    assert frame["y"].null_count() == (not late.strip())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["01234", "1234", ""], ["01234", "1234", None]),
        (["1234", "00000", "999"], [1234, None, 999]),
        (["12345678901234567890", "12345678901234567891"], None),
        (["1.5", "01234"], None),
        (["1.5", "9007199254740993", "9007199254740992"], None),
        (["0.5", "-0.25", "0"], [0.5, -0.25, 0.0]),
        (["1.5", "00000"], [1.5, None]),
        (["9007199254740993", "NA"], [2**53 + 1, None]),
    ],
)
@pytest.mark.parametrize("before", [0, 100])
def test_codes_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: list[str], expected: Any, before: int
) -> None:
    """Where they are kept, of a condition or a group, in any block; a number stays a number."""
    monkeypatch.setattr(csv_module, "BLOCK_BYTES", 64)
    lines = ["x,y", *["07,7"] * before, *(f"07,{field}" for field in fields)]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    rows = read(tmp_path / "a.csv", ("x", "y"), csv={"null_values": ["00000"]})[before:]
    assert rows == [(7.0, value) for value in expected or fields]


def test_a_column_of_times_may_widen_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_module, "BLOCK_BYTES", 64)
    days = ["2024-01-01"] * 50 + ["2024-01-01 10:00:00"]
    (tmp_path / "a.csv").write_text("y,z\n" + "".join(f"{day},\n" for day in days))
    source = open_(tmp_path / "a.csv", number_columns=frozenset(), text_columns=frozenset())
    assert source.columns == {"y": pa.large_string(), "z": pa.large_string()}
    assert [d for _, f in source.frames(["y"]) for d in f["y"]] == days


@pytest.mark.parametrize(
    ("content", "csv", "parts"),
    [
        (TEXT.replace(",", ";"), {}, ["a single column", "'x;city;y'", "data.csv.delimiter: ';'"]),
        (TEXT.replace(",", "\t"), {}, ["a single column", "data.csv.delimiter: 'tab'"]),
        (TEXT, {"delimiter": ";"}, ["a single column", "separated by ';'", "delimiter: ','"]),
        (TEXT.replace(",", ";").replace(".", ","), {"delimiter": ";"},
         ["column 'x'", "found '1,5' in row 0", "data.csv.decimal: ','"]),
        (TEXT.replace(",", ";"), {"delimiter": ";", "decimal": ","},
         ["column 'x'", "found '1.5' in row 0", "data.csv.decimal: '.'"]),
        (TEXT.split("\n", 1)[1], {}, ["does not hold the names", "header: false, columns:"]),
        ("1,1,2\n3,4,5\n", {}, ["does not hold the names", "header: false, columns:"]),
        (TEXT, {"header": False, "columns": ["x", "y"]}, ["expected 3 names", "found 2"]),
        (TEXT.replace(",", ";"), {"columns": ["x", "city", "y"]}, ["delimiter: ';'"]),
        (TEXT.encode("cp1252"), {}, ["column 'city'", "not text in UTF-8", "encoding: 'cp1252'"]),
        (TEXT.replace("city", "größe").encode("cp1252"), {}, ["not text in UTF-8", "'cp1252'"]),
        (TEXT.encode("utf-16"), {}, ["not text in UTF-8", "encoding: 'utf-16'"]),
        (TEXT.encode("utf-16-le"), {}, ["encoding: 'utf-16-le'"]),
        (TEXT.encode(), {"encoding": "ascii"}, ["not text in ascii", "encoding: 'utf-8'"]),
        (TEXT.replace("-2", "many"), {}, ["found 'many' in row 2", "null_values"]),
        (",\n1,2\n", {}, ["no column of", "has a name"]),
        ("\n\n", {}, ["cannot read", "an empty file"]),
        (b"\x1f\x8bjunk", {}, ["cannot read"]),
        ("x,city,y\n1,2\n", {}, ["Expected 3 columns, got 2"]),
    ],
)  # fmt: skip
def test_a_wrong_guess_says_what_to_set(
    tmp_path: Path, content: str | bytes, csv: dict[str, Any], parts: list[str]
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    message = refused(path, csv=csv)
    for part in parts:
        assert part in message
    assert message.startswith("data.path: ")


@pytest.mark.parametrize(
    ("section", "part"),
    [
        ({"delimiter": ""}, "one character"),
        ({"delimiter": "||"}, "one character"),
        ({"delimiter": "a"}, "one character"),
        ({"delimiter": "§"}, "one character"),
        ({"delimiter": "\n"}, "one character"),
        ({"decimal": ","}, None),
        ({"delimiter": ",", "decimal": ","}, "the same character"),
        ({"encoding": "klingon"}, "no text encoding"),
        ({"encoding": "zip"}, "no text encoding"),
        ({"header": False}, "needs columns"),
        ({"columns": ["a", "a"]}, "a name twice"),
    ],
)
def test_settings_that_may_not_be(section: dict[str, Any], part: str | None) -> None:
    if part is None:
        CsvConfig.model_validate(section)
        return
    with pytest.raises(ValidationError, match=part):
        CsvConfig.model_validate(section)


def test_settings_from_a_command_line() -> None:
    base = CsvConfig(delimiter=";", decimal=",")
    changed = with_settings(base, ["delimiter=|", "null_values=[a, b]", "header=true"])
    assert changed == CsvConfig(delimiter="|", decimal=",", null_values=["a", "b"])
    assert with_settings(base, ["delimiter="]).delimiter is None
    for setting in ("delimiter", "delimter=;", "delimiter=;;", "columns=[a, a]", "header=["):
        with pytest.raises(UserError, match=r"^--csv "):
            with_settings(base, [setting])


CONFIG = """
name: twice
data: {{path: {path}, csv: {csv}, ignore: [day]}}
features:
  age: {{kind: numeric, null_values: [unknown]}}
  band: {{kind: categorical, column: age}}
  square: {{kind: numeric, column: size, transform: log1p}}
  size: {{kind: categorical}}
tasks:
  bought: {{kind: binary, positive: [yes, maybe]}}
"""


@pytest.mark.parametrize(
    ("path", "csv"),
    [("a.csv", "{}"), ("b.csv", "{delimiter: ';', decimal: ','}"), ("c.parquet", "{}")],
)
def test_a_column_may_be_encoded_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, csv: str
) -> None:
    """The same batch from either spelling of CSV and from Parquet."""
    ages = [["31.5", "unknown", "40", " 31.5", None][i % 5] for i in range(300)]
    frame = pl.DataFrame(
        {
            "age": ages,
            "size": [i % 7 / 2 for i in range(300)],
            "day": "x",
            "bought": [["yes", "no", " maybe"][i % 3] for i in range(300)],
        }
    )
    frame.write_csv(tmp_path / "a.csv")
    comma = frame.with_columns(
        pl.col("age", "size").cast(pl.String).str.replace(".", ",", literal=True)
    )
    comma.write_csv(tmp_path / "b.csv", separator=";")
    frame.write_parquet(tmp_path / "c.parquet")
    monkeypatch.chdir(tmp_path)
    config = config_from_yaml(CONFIG.format(path=path, csv=csv), where="c.yaml")
    prepared = prepare(config)
    spec = prepared.preprocessor.spec
    assert [f.name for f in spec.features] == ["age", "square", "band", "size"]
    assert {t.name: t.rows for t in spec.tables} == {"band": 5, "size": 9}
    assert prepared.preprocessor.columns(labels=False) == ["age", "size"]
    batch = prepared.preprocessor.encode(
        pl.DataFrame({"age": ["40", "unknown", "31.5 "], "size": [0.5, 1.0, 99.0]}), labels=False
    )
    assert batch["age"][:, -1].tolist() == [0, 1, 0], "the indicator"
    band = dict(zip(prepared.preprocessor.features[1].coder.values, range(2, 5), strict=True))
    assert batch["band"].tolist() == [band["40"], band["unknown"], band["31.5"]]
    assert batch["size"].tolist()[-1] == 0, "unknown"
    assert len(prepared.warnings) == 0


_CELLS = ["1", "2.5", "", " ", "a", '"a,b"', '"x\ny"', "NA", "True", "2024-01-01", "9" * 20, "1,5"]
_CELLS += ['"', "\0", "ä", "inf", "1e400", 'a"b', "12:30", "\t", ";"]
_NAMES = ["x", "y", "", " w", "1"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(st.sampled_from(_CELLS), min_size=3, max_size=3), max_size=30),
    names=st.lists(st.sampled_from(_NAMES), min_size=2, max_size=4),
    delimiter=st.sampled_from(",;\t"),
    encodings=st.lists(st.sampled_from(["utf-8", "utf-16", "cp1252"]), min_size=2, max_size=2),
    numbers=st.sets(st.sampled_from(_NAMES)),
    config=st.sampled_from([{}, {"decimal": ","}, {"null_values": ["a", ""]}, {"delimiter": ";"}]),
)
def test_any_file_is_read_or_refused_in_one_line(
    tmp_path: Path,
    rows: list[list[str]],
    names: list[str],
    delimiter: str,
    encodings: list[str],
    numbers: set[str],
    config: dict[str, Any],
) -> None:
    written, read_as = encodings
    text = "\n".join(delimiter.join(row) for row in [names, *rows])
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode(written, "replace"))
    settled = CsvConfig.model_validate({"encoding": read_as} | config)
    try:
        source = Source.open("a.csv", root=tmp_path, csv=settled, number_columns=numbers)
        heights = [frame.height for _, frame in source.frames(list(source.columns), chunk_rows=7)]
    except UserError as refused:
        message = str(refused)
    else:
        message = ""
        assert sum(heights) == source.num_rows > 0
    assert "\n" not in message
