"""Drafts of small tables with columns of every type."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from recsys_mtl.config import config_from_yaml
from recsys_mtl.draft import draft
from recsys_mtl.draft.sample import read_sample
from recsys_mtl.errors import UserError
from recsys_mtl.runs import validate

ROWS = 400
INDEX = np.arange(ROWS)
DRAWN = np.random.default_rng(3)
CLICK = (DRAWN.random(ROWS) < 0.3).astype(int)
BASE = {"click": CLICK, "age": 20 + INDEX * 13 % 50}
DAYS = [dt.date(2024, 1, 1) + dt.timedelta(days=int(i) // 4) for i in INDEX]
WORDS = np.array(["red", "green", "blue", "grey"])[INDEX * 3 % 4]


def drafted(folder: Path, columns: dict[str, Any], *labels: str, csv: bool = False, **options: Any):
    """The draft of a table as loaded YAML; it is a valid config."""
    frame = pl.DataFrame(columns, strict=False)
    if csv:
        frame.write_csv(folder / "table.csv")
    else:
        frame.write_parquet(folder / "table.parquet")
    table = "table.csv" if csv else "table.parquet"
    text = draft(table, labels or ("click",), root=folder, **options).text
    assert config_from_yaml(text, where="draft").name == "table"
    return yaml.safe_load(text), text


def note(text: str, key: str) -> str:
    """The comment of a line."""
    (line,) = [line for line in text.splitlines() if line.strip(" -").startswith(key)]
    return line.partition("  # ")[2]


AUTO = {"kind": "categorical", "min_count": "auto", "dim": "auto"}
FEATURES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "numbers": (INDEX / 7, {"kind": "numeric"}, "400 distinct, 0 to 57"),
    "nulls": ([None, *(INDEX[1:] % 9)], {"kind": "numeric"}, "0.2% null, 9 distinct"),
    "few": (INDEX % 5, {"kind": "numeric"}, "5 distinct"),
    "two": (INDEX * 3 % 4 // 2, {"kind": "categorical"}, "2 distinct"),
    "truths": (INDEX % 2 == 0, {"kind": "categorical"}, "2 distinct"),
    "texts": (WORDS, {"kind": "categorical"}, "4 distinct: blue, green, grey, …"),
    "store_id": (INDEX % 30, {"kind": "categorical"}, "30 distinct"),
    "item_id": (INDEX * 7 % 200, AUTO, "200 distinct"),
    "ids beyond float64": (
        2**53 + INDEX % 2,
        {"kind": "categorical"},
        "2 distinct: 9007199254740992,",
    ),
    "ids of 64 bits": (
        (2**64 - 1 - INDEX.astype(np.uint64) % 30),
        {"kind": "categorical"},
        "30 distinct: 1844674407370955",
    ),
    "zeros": ([f"0{i % 30}" for i in INDEX], {"kind": "categorical"}, "30 distinct: 00"),
    "infinite": (
        [np.inf, *INDEX[1:] / 3],
        {"kind": "numeric", "null_values": ["inf", "-inf"]},
        "infinite values count as missing",
    ),
    "lists": (
        [[int(i) % 9, 1] for i in INDEX],
        {"kind": "categorical_list"},
        "9 distinct entries: 1,",
    ),
    "joined": (
        ["|".join({f"g{i % 5}", f"g{i % 7}", f"g{i % 11}"}) for i in INDEX],
        {"kind": "categorical_list", "separator": "|", "min_count": "auto", "dim": "auto"},
        "lists",
    ),
    "stored as text": (
        [str(i * 11 % 90) for i in INDEX],
        {"kind": "numeric", "null_values": ["NA"]},
        "90 distinct, 0 to 89",
    ),
    "words among numbers": (
        ["unknown", *(f"{i % 60}.5" for i in INDEX[1:])],
        {"kind": "numeric", "null_values": ["unknown"]},
        "60 distinct",
    ),
    "a*b": (WORDS, {"kind": "categorical", "column": "a*b"}, "4 distinct"),
    "clicks_before": (INDEX % 9, {"kind": "numeric"}, "known before the labels?"),
}


def test_a_feature_of_each_type(tmp_path: Path) -> None:
    columns = BASE | {name: values for name, (values, _, _) in FEATURES.items()}
    loaded, text = drafted(tmp_path, columns)
    assert loaded["features"].pop("age") == {"kind": "numeric"}
    assert list(loaded["features"]) == [name.replace("*", "_") for name in FEATURES]
    for name, (_, section, why) in FEATURES.items():
        assert loaded["features"][name.replace("*", "_")] == section, name
        assert why in note(text, name.replace("*", "_")), name


IGNORED: dict[str, tuple[Any, str]] = {
    "constant": ([5] * ROWS, "constant: 5"),
    "empty": ([None] * ROWS, "no value"),
    "row_id": (INDEX, "another value in every row"),
    "keys": ([f"k{i:05}" for i in INDEX], "another value in every row: k00000"),
    "prose": ([f"{i % 300} " + "many words " * 9 for i in INDEX], "free text: 0 many"),
    "a copy": (CLICK, "alone almost determines label 'click' (AUC 1.000)"),
    "a near copy": (CLICK * 2.0 + DRAWN.random(ROWS), "alone almost determines"),
    "null with it": (
        [None if c else 1.0 + i % 5 for i, c in enumerate(CLICK)],
        "by being null almost determines",
    ),
    "a vector": ([[0.5, float(i)] for i in INDEX], "a vector: store each number"),
    "a duration": ([dt.timedelta(minutes=int(i)) for i in INDEX], "which no feature reads"),
    "a date with nulls": ([None, *DAYS[1:]], "a date"),
}


def test_a_column_that_is_no_feature_says_why(tmp_path: Path) -> None:
    columns = BASE | {name: values for name, (values, _) in IGNORED.items()}
    loaded, text = drafted(tmp_path, columns)
    assert loaded["data"]["ignore"] == list(IGNORED)
    for name, (_, why) in IGNORED.items():
        assert why in note(text, f"{name}  #"), name


LABELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "truths": (INDEX % 3 == 0, {"kind": "binary"}),
    "0 and 1": (CLICK, {"kind": "binary"}),
    "1 and 2": (1 + CLICK, {"kind": "binary", "positive": "2"}),
    "yes and no": (np.where(CLICK, "no", "yes"), {"kind": "binary", "positive": "yes"}),
    "words": (np.where(CLICK, "left", "stays"), {"kind": "binary", "positive": "left"}),
    "a word for null": (
        ["Unknown", *np.where(CLICK, "left", "stays")[1:]],
        {"kind": "binary", "positive": "left", "null_values": ["Unknown"]},
    ),
    "classes": (WORDS, {"kind": "multiclass", "classes": ["blue", "green", "grey", "red"]}),
    "long ids": (
        2**53 + INDEX % 3,
        {"kind": "multiclass", "classes": [str(2**53 + i) for i in range(3)]},
    ),
    "stars": (1 + INDEX % 5, {"kind": "multiclass", "classes": ["1", "2", "3", "4", "5"]}),
    "a count": ([0] * 300 + [1 + i % 6 for i in range(100)], {"kind": "count"}),
    "spend": ([0.0] * 200 + [9.5 + i for i in range(200)], {"kind": "customer_value"}),
    "a number": (INDEX / 9 - 3, {"kind": "regression"}),
    "a tail": (np.exp(INDEX / 40), {"kind": "regression", "transform": "log1p"}),
    "items": ([f"i{i * 7 % 200}" for i in INDEX], {"kind": "retrieval"}),
}


@pytest.mark.parametrize("csv", [False, True], ids=["Parquet", "CSV"])
def test_a_task_of_each_kind(tmp_path: Path, csv: bool) -> None:
    columns = {name: values for name, (values, _) in LABELS.items()}
    loaded, _ = drafted(tmp_path, {"noise": DRAWN.random(ROWS)} | columns, *LABELS, csv=csv)
    for (name, (_, section)), task in zip(LABELS.items(), loaded["tasks"].values(), strict=True):
        label = {} if task.get("label") is None else {"label": name}
        assert task == section | label, name


def test_a_label_of_any_name_is_a_task(tmp_path: Path) -> None:
    columns = {"age": BASE["age"], "is it?": CLICK, "shared": CLICK[::-1], "2nd": 1 - CLICK}
    loaded, _ = drafted(tmp_path, columns, "is it?", "shared", "2nd")
    labels = {name: task.get("label", name) for name, task in loaded["tasks"].items()}
    assert labels == {"is_it": "is it?", "shared_": "shared", "_2nd": "2nd"}


def test_a_date_splits_by_time_and_what_goes_with_it_is_left_out(tmp_path: Path) -> None:
    columns = BASE | {
        "signup": DAYS[::-1], "day": DAYS, "week": INDEX // 28, "user_id": INDEX % 40,
    }  # fmt: skip
    loaded, text = drafted(tmp_path, columns)
    assert loaded["data"]["split"] == {"kind": "time", "column": "day"}
    assert loaded["data"]["ignore"] == ["signup", "week"]
    assert "of the newest rows' values are new" in note(text, "week")
    assert "--group user_id keeps" in note(text, "split")


@pytest.mark.parametrize(
    "values",
    [
        [f"{day}T10:00:00Z" for day in DAYS],
        [f"{day} 10:00:00+02" for day in DAYS],
        [f"{day}T10:00 UTC" for day in DAYS],
        [dt.datetime(2024, 1, 1) + dt.timedelta(hours=int(i)) for i in INDEX],
        1_650_812_741_436 + INDEX,
        20_240_101 + INDEX % 31,
    ],
    ids=["ISO", "PostgreSQL", "minutes", "timestamp", "milliseconds", "yyyymmdd"],
)
def test_times_in_other_forms(tmp_path: Path, values: Any) -> None:
    loaded, _ = drafted(tmp_path, BASE | {"event_time": values})
    assert loaded["data"]["split"] == {"kind": "time", "column": "event_time"}


def test_a_date_that_leaves_a_label_without_a_class_does_not_split(tmp_path: Path) -> None:
    loaded, text = drafted(tmp_path, BASE | {"day": DAYS, "late": INDEX > 350}, "late")
    assert loaded["data"]["split"] == {"kind": "fraction"}
    assert "splits badly" in note(text, "split")


def test_a_group_is_asked_for(tmp_path: Path) -> None:
    columns = BASE | {"customer_id": INDEX % 100, "day": DAYS}
    loaded, text = drafted(tmp_path, columns, group="customer_id")
    assert loaded["data"]["split"] == {"kind": "group", "column": "customer_id"}
    assert "customer_id" not in loaded["features"]
    assert note(text, "split").startswith("100 groups, 4 rows each")


def test_many_numbers_are_one_input_each(tmp_path: Path) -> None:
    numbers = {f"v{i}": DRAWN.normal(size=ROWS) for i in range(100)}
    loaded, _ = drafted(tmp_path, BASE | numbers | {"z": np.exp(INDEX / 40.0)})
    assert loaded["features"]["v7"] == {"kind": "numeric", "transform": "standardize"}
    assert loaded["features"]["z"] == {"kind": "numeric", "transform": "log1p"}
    assert loaded["features"]["age"] == {"kind": "numeric"}


def test_ids_by_how_many_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys_mtl.features.draft.DENSE_FROM", 150)
    monkeypatch.setattr("recsys_mtl.features.draft.VERY_MANY", 300)
    texts = [f"t{i % 350}" for i in INDEX]
    loaded, _ = drafted(tmp_path, BASE | {"item_id": INDEX * 7 % 200, "t": texts})
    assert loaded["features"]["item_id"] == {"kind": "categorical", "encoding": "id", "rows": 200}
    assert loaded["features"]["t"] == {"kind": "categorical", "encoding": "hash", "buckets": 300}


def test_a_csv_as_people_write_it(tmp_path: Path) -> None:
    lines = ["age; price;when;click", *(f"{i % 9};{i},5;x{i % 3};{c}" for i, c in enumerate(CLICK))]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    loaded = yaml.safe_load(draft("table.csv", ["click"], root=tmp_path).text)
    assert loaded["data"]["csv"] == {"delimiter": ";", "decimal": ","}
    assert [f["kind"] for f in loaded["features"].values()] == ["numeric", "numeric", "categorical"]
    given = draft("table.csv", ["click"], root=tmp_path, csv=["delimiter=;", "decimal=,"]).text
    assert yaml.safe_load(given)["data"] == loaded["data"]


@pytest.mark.parametrize("csv", [False, True], ids=["Parquet", "CSV"])
def test_of_a_large_table_a_sample_is_read(tmp_path: Path, monkeypatch: Any, csv: bool) -> None:
    monkeypatch.setattr("recsys_mtl.draft.sample.SAMPLE_ROWS", 100)
    loaded, text = drafted(tmp_path, BASE | {"x": WORDS, "y": WORDS}, "y", csv=csv)
    assert " of 400 rows" in text.splitlines()[0]
    assert loaded["tasks"] == {"y": {"kind": "multiclass"}}  # there may be other classes
    sample = read_sample(f"table.{'csv' if csv else 'parquet'}", tmp_path)
    assert 50 <= sample.frame.height <= 100
    assert set(sample.frame["x"]) == set(WORDS)


def test_a_draft_is_the_same_twice(tmp_path: Path) -> None:
    columns = BASE | {"x": WORDS, "day": DAYS}
    assert drafted(tmp_path, columns)[1] == drafted(tmp_path, columns)[1]


def test_nasty_names_and_values_stay_text(tmp_path: Path) -> None:
    columns = BASE | {
        "a: b # c": [f"x\n# {i % 4}" for i in INDEX], "- x": WORDS, "null": WORDS, "é\x1b": WORDS,
    }  # fmt: skip
    loaded, text = drafted(tmp_path, columns)
    assert list(loaded["features"]) == ["age", "a: b # c", "- x", "null", "é\x1b"]
    assert "\x1b" not in text


WRONG: dict[str, tuple[dict[str, Any], list[str], dict[str, Any], str]] = {
    "no label": (BASE | {"default": 1 - CLICK}, [], {}, "found columns like one: click, default$"),
    "a misspelt label": (
        BASE,
        ["clik"],
        {},
        "--label clik: no such column -> did you mean 'click'",
    ),
    "a constant label": ({**BASE, "z": [1] * ROWS}, ["z"], {}, "constant; .*found only '1'$"),
    "one class and null": (
        {**BASE, "z": [1, None] * 200},
        ["z"],
        {},
        "constant; .*only '1' and null, which means unlabelled",
    ),
    "an empty label": ({**BASE, "z": [None] * ROWS}, ["z"], {}, "constant; .*found no value"),
    "a label of dates": ({**BASE, "z": DAYS}, ["z"], {}, "no label; .*found dates"),
    "a label of prose": ({**BASE, "z": [f"t{i}" for i in INDEX]}, ["z"], {}, "400 different texts"),
    "infinite labels": ({**BASE, "z": [np.inf, *INDEX[1:]]}, ["z"], {}, "infinite values"),
    "labels alone": ({"click": CLICK}, ["click"], {}, "no column can be a feature"),
    "leaks alone": ({"click": CLICK, "x": CLICK}, ["click"], {}, "no column can be a feature.*'x'"),
    "no such group": (BASE, ["click"], {"group": "aeg"}, "--group aeg: no such .*'age'"),
    "a label as group": (BASE, ["click"], {"group": "click"}, "is a label"),
    "nulls in a group": (
        {**BASE, "u": [None, *INDEX[1:]]},
        ["click"],
        {"group": "u"},
        "no group; .*0.2% null",
    ),
    "few groups": ({**BASE, "u": WORDS}, ["click"], {"group": "u"}, "7 groups or more; found 4"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_line(tmp_path: Path, case: str) -> None:
    columns, labels, options, message = WRONG[case]
    pl.DataFrame(columns, strict=False).write_parquet(tmp_path / "table.parquet")
    with pytest.raises(UserError, match=message) as caught:
        draft("table.parquet", labels, root=tmp_path, **options)
    assert len(caught.value.problems) == 1


def test_files_of_two_tables_are_refused(tmp_path: Path) -> None:
    pl.DataFrame(BASE).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"x": WORDS, "y": WORDS}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"most columns cannot be read; found 'click' .*missing"):
        draft(".", ["click"], root=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("age,click\n", "no rows"), ("", "empty file"), ("1,2\n3,4\n", "does not hold the names")],
)
def test_wrong_files_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        draft("table.csv", ["click"], root=tmp_path)


@pytest.mark.slow  # fits the data of a training
@pytest.mark.parametrize("csv", [False, True], ids=["Parquet", "CSV"])
def test_the_draft_of_a_table_of_all_types_is_what_a_training_takes(
    tmp_path: Path, csv: bool
) -> None:
    columns = BASE | {name: values for name, (values, *_) in (FEATURES | IGNORED).items()}
    columns |= {f"label {name}": values for name, (values, _) in LABELS.items()} | {"day": DAYS}
    nested = ("lists", "a vector", "a duration") if csv else ()
    frame = pl.DataFrame(columns, strict=False).drop(nested)
    labels = [name for name in columns if name.startswith("label ")]
    table = tmp_path / ("t.csv" if csv else "t.parquet")
    (frame.write_csv if csv else frame.write_parquet)(table)
    text = draft(table.name, labels, root=tmp_path).text
    config = config_from_yaml(text, where="draft", overrides=[f"data.root={tmp_path}"])
    result = validate.validate(config)
    assert len(result["tasks"]) == len(labels)
    assert not [warning for warning in result["warnings"] if "determines" in warning]
