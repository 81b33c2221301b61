from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys_mtl.columns.rows import ROW
from recsys_mtl.config.data import DataConfig
from recsys_mtl.data.source import Source
from recsys_mtl.data.splits import SPLITS, Splits, distinct, open_sources
from recsys_mtl.errors import UserError
from tests.marks import slow_except

KINDS: dict[str, dict[str, Any]] = {
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


def cut(folder: Path, split: dict[str, Any], path: str = "whole.parquet", seed: int = 0) -> Splits:
    data = DataConfig.model_validate({"path": path, "split": split})
    return Splits.of(open_sources(data, folder, text=set(), numbers=set()), data.split, seed)


def ids(splits: Splits) -> dict[str, list[int]]:
    return {
        split: pl.concat(list(splits.frames(split, ["id"])))["id"].to_list() for split in SPLITS
    }


@pytest.mark.parametrize("kind", KINDS)
def test_splits_are_disjoint_and_complete(folder: Path, kind: str) -> None:
    splits = cut(folder, KINDS[kind])
    ids_of = ids(splits)
    together = [row for rows in ids_of.values() for row in rows]
    assert len(set(together)) == len(together)
    assert len(together) == 1000 - splits.counts["dropped"]
    assert {split: len(rows) for split, rows in ids_of.items()} | {
        "dropped": splits.counts["dropped"]
    } == splits.counts
    assert (splits.counts["dropped"] > 0) == (kind == "time")
    assert all(rows == sorted(rows) for rows in ids_of.values())  # in the order of the file
    for split, share in (("train", 0.5), ("valid", 0.2), ("test", 0.3)):
        assert len(ids_of[split]) / 1000 == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize("kind", slow_except(["time"], KINDS))
def test_neither_files_nor_chunks_move_a_row(
    folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ids(cut(folder, KINDS[kind]))
    assert ids(cut(folder, KINDS[kind], "parts")) == expected
    usual = Source.frames
    monkeypatch.setattr(
        Source, "frames", lambda self, columns, **_: usual(self, columns, chunk_rows=7)
    )
    for path in ("whole.parquet", "parts"):
        again = cut(folder, KINDS[kind], path)
        assert ids(again) == expected
        assert max(frame.height for _, frame in again.iterate(["id"])) <= 7


def test_a_group_is_in_one_split(folder: Path) -> None:
    splits = cut(folder, KINDS["group"])
    users = [set(pl.concat(list(splits.frames(split, ["user"])))["user"]) for split in SPLITS]
    assert sum(map(len, users)) == len(set.union(*users)) == 60


def test_time_runs_forward_with_a_gap(folder: Path) -> None:
    splits = cut(folder, KINDS["time"])
    times = [pl.concat(list(splits.frames(split, ["t"])))["t"].to_numpy() for split in SPLITS]
    for earlier, later in pairwise(times):
        assert earlier.max() + 20 < later.min()


def test_the_seed_decides_all_but_time(folder: Path) -> None:
    for kind, split in KINDS.items():
        same = ids(cut(folder, split)) == ids(cut(folder, split, seed=1))
        assert same == (kind == "time")


def test_one_walk_shows_every_split_with_row_numbers(folder: Path) -> None:
    splits = cut(folder, KINDS["time"], "parts")
    seen: dict[str, list[int]] = {split: [] for split in SPLITS}
    for split, frame in splits.iterate(["id"]):
        assert frame.columns == [ROW, "id"]  # not the split's own column
        assert frame.height > 0
        assert frame[ROW].to_list() == frame["id"].to_list()
        seen[split] += frame["id"].to_list()
    assert seen == ids(splits)
    assert {split for split, _ in splits.iterate(["id"], ("valid", "test"))} == {"valid", "test"}


def test_given_files_are_their_own_splits(folder: Path) -> None:
    files = {"kind": "files", "valid": "parts/b.parquet", "test": ["parts/c.parquet"]}
    splits = cut(folder, files, "parts/a.parquet")
    expected = [range(311), range(311, 650), range(650, 1000)]
    assert ids(splits) == {s: list(rows) for s, rows in zip(SPLITS, expected, strict=True)}
    assert splits.counts == {"train": 311, "valid": 339, "test": 350, "dropped": 0}
    assert len(distinct(splits.sources)) == 3
    _, last = list(splits.iterate(["id"]))[-1]
    assert last[ROW].to_list() == list(range(350))  # counted within the file


def test_one_source_is_opened_once(folder: Path) -> None:
    assert len(distinct(cut(folder, KINDS["fraction"]).sources)) == 1


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"kind": "time", "column": "t", "valid_from": 900, "test_from": 1000}, "no rows in test"),
        ({"kind": "time", "column": "t", "valid_from": 0, "test_from": 500}, "no rows in train"),
        ({"kind": "group", "column": "one", "valid": 0.2, "test": 0.2}, "no rows in "),
        ({"kind": "group", "column": "none"}, "missing column 'none'"),
    ],
)
def test_an_empty_split_or_an_unknown_column_is_refused(
    folder: Path, split: dict[str, Any], message: str
) -> None:
    one = pl.read_parquet(folder / "whole.parquet").with_columns(pl.lit("x").alias("one"))
    one.write_parquet(folder / "whole.parquet")
    with pytest.raises(UserError, match=message):
        cut(folder, split)


def test_a_share_of_the_labels_is_drawn_by_the_seed_and_test_rows_keep_theirs(folder: Path) -> None:
    def labelled(share: float, seed: int = 0) -> dict[str, set[int]]:
        splits = replace(cut(folder, KINDS["fraction"], seed=seed), label_shares={"t": share})
        kept = {}
        for split in SPLITS:
            rows = pl.concat(list(splits.frames(split, ["id", "t"])))
            assert rows.height == splits.counts[split]  # rows stay, labels go
            kept[split] = set(rows.filter(pl.col("t").is_not_null())["id"].to_list())
        return kept

    complete, half, tenth = (labelled(share) for share in (1.0, 0.5, 0.1))
    for split in ("train", "valid"):
        assert tenth[split] < half[split] < complete[split]
        assert len(half[split]) / len(complete[split]) == pytest.approx(0.5, abs=0.08)
    assert tenth["test"] == half["test"] == complete["test"]
    assert labelled(0.5, seed=1)["train"] != half["train"]
