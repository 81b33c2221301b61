from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys_mtl.columns.rows import ROW
from recsys_mtl.config.data import DataConfig
from recsys_mtl.data.sides import SIDES, Sides, distinct, open_sources
from recsys_mtl.data.source import Source
from recsys_mtl.errors import UserError

SPLITS: dict[str, dict[str, Any]] = {
    "fraction": {"kind": "fraction", "valid": 0.2, "test": 0.3},
    "group": {"kind": "group", "column": "user", "valid": 0.2, "test": 0.3},
    "time": {"kind": "time", "column": "t", "valid": 0.2, "test": 0.3, "gap": 20},
}


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """One table, as a file and as three files of other row groups."""
    count = 1000
    user, time = rng.integers(0, 60, count), rng.permutation(count)
    table = pl.DataFrame({"id": np.arange(count), "user": user, "t": time})
    table.write_parquet(tmp_path / "whole.parquet")
    (tmp_path / "parts").mkdir()
    for name, first, end in (("a", 0, 311), ("b", 311, 650), ("c", 650, count)):
        part = table.slice(first, end - first)
        part.write_parquet(tmp_path / "parts" / f"{name}.parquet", row_group_size=97)
    return tmp_path


def cut(folder: Path, split: dict[str, Any], path: str = "whole.parquet", seed: int = 0) -> Sides:
    data = DataConfig.model_validate({"path": path, "split": split})
    return Sides.of(open_sources(data, folder, text=set(), numbers=set()), data.split, seed)


def ids(sides: Sides) -> dict[str, list[int]]:
    return {side: pl.concat(list(sides.frames(side, ["id"])))["id"].to_list() for side in SIDES}


@pytest.mark.parametrize("kind", SPLITS)
def test_sides_are_disjoint_and_complete(folder: Path, kind: str) -> None:
    sides = cut(folder, SPLITS[kind])
    found = ids(sides)
    together = [row for rows in found.values() for row in rows]
    assert len(set(together)) == len(together)
    assert len(together) == 1000 - sides.counts["dropped"]
    assert {side: len(rows) for side, rows in found.items()} | {
        "dropped": sides.counts["dropped"]
    } == sides.counts
    assert (sides.counts["dropped"] > 0) == (kind == "time")
    assert all(rows == sorted(rows) for rows in found.values())  # in the order of the file
    for side, share in (("train", 0.5), ("valid", 0.2), ("test", 0.3)):
        assert len(found[side]) / 1000 == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize("kind", SPLITS)
def test_neither_files_nor_chunks_move_a_row(
    folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ids(cut(folder, SPLITS[kind]))
    assert ids(cut(folder, SPLITS[kind], "parts")) == expected
    usual = Source.frames
    monkeypatch.setattr(Source, "frames", lambda self, columns: usual(self, columns, chunk_rows=7))
    for path in ("whole.parquet", "parts"):
        again = cut(folder, SPLITS[kind], path)
        assert ids(again) == expected
        assert max(frame.height for _, frame in again.walk(["id"])) <= 7


def test_a_group_is_on_one_side(folder: Path) -> None:
    sides = cut(folder, SPLITS["group"])
    users = [set(pl.concat(list(sides.frames(side, ["user"])))["user"]) for side in SIDES]
    assert sum(map(len, users)) == len(set.union(*users)) == 60


def test_time_runs_forward_with_a_gap(folder: Path) -> None:
    sides = cut(folder, SPLITS["time"])
    times = [pl.concat(list(sides.frames(side, ["t"])))["t"].to_numpy() for side in SIDES]
    for earlier, later in pairwise(times):
        assert earlier.max() + 20 < later.min()


def test_the_seed_decides_all_but_time(folder: Path) -> None:
    for kind, split in SPLITS.items():
        same = ids(cut(folder, split)) == ids(cut(folder, split, seed=1))
        assert same == (kind == "time")


def test_one_walk_shows_every_side_with_row_numbers(folder: Path) -> None:
    sides = cut(folder, SPLITS["time"], "parts")
    seen: dict[str, list[int]] = {side: [] for side in SIDES}
    for side, frame in sides.walk(["id"]):
        assert frame.columns == [ROW, "id"]  # not the split's own column
        assert frame.height > 0
        assert frame[ROW].to_list() == frame["id"].to_list()
        seen[side] += frame["id"].to_list()
    assert seen == ids(sides)
    assert {side for side, _ in sides.walk(["id"], ("valid", "test"))} == {"valid", "test"}


def test_given_files_are_their_own_sides(folder: Path) -> None:
    files = {"kind": "files", "valid": "parts/b.parquet", "test": ["parts/c.parquet"]}
    sides = cut(folder, files, "parts/a.parquet")
    expected = [range(311), range(311, 650), range(650, 1000)]
    assert ids(sides) == {s: list(rows) for s, rows in zip(SIDES, expected, strict=True)}
    assert sides.counts == {"train": 311, "valid": 339, "test": 350, "dropped": 0}
    assert len(distinct(sides.sources)) == 3
    _, last = list(sides.walk(["id"]))[-1]
    assert last[ROW].to_list() == list(range(350))  # counted within the file


def test_one_source_is_opened_once(folder: Path) -> None:
    assert len(distinct(cut(folder, SPLITS["fraction"]).sources)) == 1


@pytest.mark.parametrize(
    ("split", "told"),
    [
        ({"kind": "time", "column": "t", "valid_from": 900, "test_from": 1000}, "no rows in test"),
        ({"kind": "time", "column": "t", "valid_from": 0, "test_from": 500}, "no rows in train"),
        ({"kind": "group", "column": "one", "valid": 0.2, "test": 0.2}, "no rows in "),
        ({"kind": "group", "column": "none"}, "missing column 'none'"),
    ],
)
def test_an_empty_side_or_an_unknown_column_is_refused(
    folder: Path, split: dict[str, Any], told: str
) -> None:
    one = pl.read_parquet(folder / "whole.parquet").with_columns(pl.lit("x").alias("one"))
    one.write_parquet(folder / "whole.parquet")
    with pytest.raises(UserError, match=told):
        cut(folder, split)
