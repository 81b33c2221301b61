"""Ways to spoil a small data set, its config or the arguments, and the check of the error line."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from recsys_mtl.cli.main import main

Arguments = list[str]
Spoil = Callable[[Any, dict[str, Any]], Arguments | None]


def rows(*changes: pl.Expr | pl.Series) -> Spoil:
    """Change columns of the data."""

    def spoil(toy: Any, document: dict[str, Any]) -> None:
        toy.rows().with_columns(*changes).write_parquet(toy.data)

    return spoil


def config(path: str, value: Any) -> Spoil:
    """Set a value of the config."""

    def spoil(toy: Any, document: dict[str, Any]) -> None:
        *way, last = path.split(".")
        for key in way:
            document = document.setdefault(key, {})
        document[last] = value

    return spoil


def job(*arguments: str) -> Spoil:
    """Other arguments; FOLDER is the test's folder."""

    def spoil(toy: Any, document: dict[str, Any]) -> Arguments:
        toy.write(document)
        return [a.replace("FOLDER", str(toy.folder)) for a in arguments]

    return spoil


def both(*spoils: Spoil) -> Spoil:
    """One after another; the last one may give arguments."""

    def spoil(toy: Any, document: dict[str, Any]) -> Arguments | None:
        return [one(toy, document) for one in spoils][-1]

    return spoil


def file(name: str, content: str | bytes) -> Spoil:
    """Write a file."""

    def spoil(toy: Any, document: dict[str, Any]) -> None:
        data = content.encode() if isinstance(content, str) else content
        (toy.folder / name).write_bytes(data)

    return spoil


def truncated(toy: Any, document: dict[str, Any]) -> None:
    toy.data.write_bytes(toy.data.read_bytes()[:-1000])


def mixed_schemas(toy: Any, document: dict[str, Any]) -> None:
    (toy.folder / "many").mkdir()
    toy.rows().write_parquet(toy.folder / "many" / "a.parquet")
    changed = toy.rows().with_columns(pl.col("age").cast(pl.String))
    changed.write_parquet(toy.folder / "many" / "b.parquet")
    document["data"]["path"] = "many"


def duplicate_column(toy: Any, document: dict[str, Any]) -> None:
    table = toy.rows().to_arrow()
    pq.write_table(table.append_column("age", table["income"]), toy.data)


def files_without_rows(toy: Any, document: dict[str, Any]) -> None:
    toy.rows().head(0).write_parquet(toy.folder / "none.parquet")
    split = {"kind": "files", "valid": "toy.parquet", "test": "none.parquet"}
    document["data"]["split"] = split


def twice(toy: Any, document: dict[str, Any]) -> Arguments:
    path = toy.folder / "bad.yaml"
    path.write_text(toy.write(document).read_text() + "name: again\n")
    return ["train", str(path)]


def csv(**cells: str) -> Spoil:
    """The data as CSV (lists joined by |), with cells of row 7 changed."""

    def spoil(toy: Any, document: dict[str, Any]) -> None:
        frame = toy.rows().with_columns(pl.col("seen").list.join("|")).with_row_index("row")
        changed = [
            pl.when(pl.col("row") == 7).then(pl.lit(text)).otherwise(pl.col(c)).alias(c)
            for c, text in cells.items()
        ]
        frame.with_columns(changed).drop("row").write_csv(toy.folder / "toy.csv")
        document["data"]["path"] = "toy.csv"
        document["features"]["seen"]["separator"] = "|"

    return spoil


def ablation(arms: str) -> Spoil:
    """An ablation of the data, with that line in its file."""

    def spoil(toy: Any, document: dict[str, Any]) -> Arguments:
        path = toy.folder / "ablation.yaml"
        path.write_text(f"name: a\nbase: {toy.write(document)}\n{arms}\n")
        return ["ablate", str(path)]

    return spoil


def text(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.String)


def row(number: int, column: str, value: object) -> pl.Expr:
    """One cell changed."""
    here = pl.int_range(pl.len()) == number
    return pl.when(here).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)


def time_split(column: str, **more: Any) -> Spoil:
    drop = config("data.ignore", [c for c in ("customer", "day") if c != column])
    return both(drop, config("data.split", {"kind": "time", "column": column, **more}))


UNREACHABLE = config("tracking", {"enabled": True, "uri": "http://127.0.0.1:9"})
TRANSFERS = [{"source": "click", "target": "buy"}, {"source": "buy", "target": "click"}]
INFINITY = float("inf")


def check(toy: Any, case: tuple[Spoil, str], capsys: pytest.CaptureFixture[str]) -> None:
    spoil, expected = case
    document = toy.document()
    arguments = spoil(toy, document) or ["train", str(toy.write(document))]
    if arguments[0] == "predict" and "--output" not in arguments:
        arguments += ["--output", str(toy.folder / "out" / "scores.parquet")]
    if "--out" not in arguments:
        arguments += ["--out", str(toy.folder / "out")]
    before = set(toy.folder.rglob("*"))
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert re.fullmatch(r"error: .*\n", err), err
    assert re.search(expected, err), err
    out = toy.folder / "out"
    assert set(toy.folder.rglob("*")) - before <= {out, out / "config.yaml"}
