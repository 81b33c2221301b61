"""Every type of Arrow in every role of a config: read right, or one line that names the column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_mtl.columns.canonical import canonical
from recsys_mtl.config.schema import Config
from recsys_mtl.data.prepare import prepare
from recsys_mtl.data.source import Source
from recsys_mtl.errors import UserError
from tests.arrow_columns import COLUMNS, ROWS

BESIDE: dict[str, Any] = {
    "features": {"age": {"kind": "numeric"}},
    "tasks": {"y": {"kind": "binary"}},
}
FEATURES: dict[str, Any] = {
    "numeric": {"kind": "numeric"},
    "piecewise": {"kind": "numeric", "transform": "piecewise"},
    "category": {"kind": "categorical"},
    "hash": {"kind": "categorical", "encoding": "hash", "buckets": 9},
    "category_list": {"kind": "categorical_list"},
}
TASKS: dict[str, Any] = {
    "binary": {"kind": "binary"},
    "positive": {"kind": "binary", "positive": "w1"},
    "multiclass": {"kind": "multiclass"},
    "retrieval": {"kind": "retrieval"},
    "regression": {"kind": "regression"},
    "sentinel": {"kind": "regression", "null_values": ["9"]},
    "count": {"kind": "count"},
    "where_number": {"kind": "binary", "label": "y", "only_where": "where_number == 1"},
    "where_text": {"kind": "binary", "label": "y", "only_where": "where_text == 'w1'"},
    "where_null": {"kind": "binary", "label": "y", "only_where": "where_null is not null"},
}
DATA: dict[str, Any] = {
    "ignored": {"ignore": ["ignored"]},
    "weight": {"weight": "weight"},
    "group": {"split": {"kind": "group", "column": "group"}},
    "time": {"split": {"kind": "time", "column": "time"}},
}
NUMBER = {"numeric", "piecewise", "regression", "sentinel", "count", "weight"}
CATEGORY = {"category", "hash", "multiclass", "retrieval", "group", "where_null"}
WORKS = {
    "number": NUMBER | CATEGORY | {"time", "where_number"},
    "truth": (NUMBER | CATEGORY | {"binary", "where_number"}) - {"group"},
    "text": CATEGORY | {"positive", "where_text"},
    "category": CATEGORY,
    "moment": CATEGORY | {"time"},
    "list": {"category_list", "where_null"},
    "null": {"numeric", "piecewise", "category", "hash", "category_list"},
    "other": {"where_null"},
    "": set(),
}
"""The roles in which a column can be used, by what it can be used as."""
NOT_IN_PARQUET = {"month_day_nano", "dense_union", "sparse_union", "run_end_encoded"}
NAMES = sorted(COLUMNS.keys() - NOT_IN_PARQUET)


def write(folder: Path, columns: dict[str, pa.Array]) -> None:
    beside = {
        "age": pa.array(range(ROWS)),
        "y": pa.array([row * 37 % 11 % 2 for row in range(ROWS)]),
    }
    pq.write_table(pa.table(columns | beside), folder / "rows.parquet")


def refused(folder: Path, **sections: Any) -> list[str]:
    """The problems of a config."""
    data = {"path": "rows.parquet", "root": str(folder)} | sections.pop("data", {})
    both = {name: sections.get(name, {}) | BESIDE[name] for name in BESIDE}
    try:
        prepare(Config.model_validate({"name": "types", "data": data} | both))
    except UserError as error:
        return str(error).splitlines()
    return []


def named(problems: list[str], roles: set[str]) -> set[str]:
    """The roles that problems name; all of them where the file cannot be read."""
    lines = "\n".join(problems)
    if "cannot be read" in lines or "cannot read" in lines or "of '" in lines:
        return roles
    return {role for role in roles if f"'{role}'" in lines or f"tasks.{role}" in lines}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_column_is_read_or_refused_in_one_line(tmp_path: Path, name: str) -> None:
    use, column, _ = COLUMNS[name]
    both = {*FEATURES, *TASKS}
    write(tmp_path, dict.fromkeys(both, column))
    problems = refused(tmp_path, features=FEATURES, tasks=TASKS)
    assert len(problems) <= len(both)
    works = both - named(problems, both)
    assert works == WORKS[use] & both, problems
    write(tmp_path, dict.fromkeys(works, column))
    sections = ({k: v for k, v in kind.items() if k in works} for kind in (FEATURES, TASKS))
    assert refused(tmp_path, **dict(zip(("features", "tasks"), sections, strict=True))) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_column_of_the_data_section_likewise(tmp_path: Path, name: str) -> None:
    use, column, _ = COLUMNS[name]
    known = [row for row, valid in enumerate(column.is_valid().to_pylist()) if valid] or [0]
    rows = [known[row % len(known)] for row in range(ROWS)]
    if "view" in name:  # pyarrow cannot take rows of a view
        full = pa.array(map(column.to_pylist().__getitem__, rows), column.type)
    else:
        full = column.take(pa.array(rows))
    for role, data in DATA.items():
        write(tmp_path, {role: full})
        problems = refused(tmp_path, data=data)
        assert len(problems) <= 1
        assert (problems == []) == (role in WORKS[use] | {"ignored"}), problems
        assert all(role in problem or "rows.parquet'" in problem for problem in problems)


@pytest.mark.parametrize("name", [name for name in NAMES if COLUMNS[name][2]])
def test_a_category_has_its_text(tmp_path: Path, name: str) -> None:
    use, column, text = COLUMNS[name]
    write(tmp_path, {"x": column})
    source = Source.open("rows.parquet", root=tmp_path, text_columns={"x"})
    values = pl.concat([frame["x"] for _, frame in source.frames(["x"])])
    values = values.explode(empty_as_null=False, keep_nulls=False) if use == "list" else values
    assert canonical(values)[0] == text


def test_every_type_is_in_the_list() -> None:
    known = {getattr(pa.lib, name) for name in dir(pa.lib) if name.startswith("Type_")}
    unbuilt = {pa.lib.Type_INTERVAL_MONTHS, pa.lib.Type_INTERVAL_DAY_TIME}
    assert {column.type.id for _, column, _ in COLUMNS.values()} >= known - unbuilt


@pytest.mark.parametrize("name", sorted(NOT_IN_PARQUET))
def test_a_parquet_file_cannot_hold(tmp_path: Path, name: str) -> None:
    with pytest.raises(pa.ArrowNotImplementedError):
        write(tmp_path, {"x": COLUMNS[name][1]})
