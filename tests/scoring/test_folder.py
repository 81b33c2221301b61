from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_mtl.errors import UserError
from recsys_mtl.files import atomic_write
from recsys_mtl.scoring.folder import PartFolder, notes_folder
from recsys_mtl.scoring.tally import Tally

SETTINGS: dict[str, Any] = {
    "bundle_sha256": "abc",
    "fingerprint": "def",
    "keep": ["id"],
    "rows_per_file": 4,
    "drift": True,
}
SCHEMA = pa.schema([("id", pa.int64())])


def folder(path: Path, **changed: Any) -> PartFolder:
    return PartFolder(path, SETTINGS | changed, SCHEMA, 11)


@pytest.fixture
def begun(tmp_path: Path) -> PartFolder:
    """Parts 0 and 2 of three."""
    parts = folder(tmp_path / "scores")
    parts.folder.mkdir()
    parts.begin(overwrite=False)
    for number in (0, 2):
        first, last = parts.bounds(number)
        parts.store_tally(number, Tally(last - first, {("feature", "x"): np.array([number, 1])}))
        pq.write_table(pa.table({"id": range(first, last)}), parts.part(number))
    return parts


def test_parts_cover_the_rows(begun: PartFolder) -> None:
    assert begun.parts == 3
    assert [begun.bounds(n) for n in range(3)] == [(0, 4), (4, 8), (8, 11)]
    assert json.loads((begun.notes / "scoring.json").read_text()) == SETTINGS


def test_complete_parts_are_kept(begun: PartFolder) -> None:
    folder(begun.folder).begin(overwrite=False)
    assert begun.missing() == [1]
    assert not begun.finished
    folder(begun.folder).begin(overwrite=True)  # what was killed itself
    assert begun.missing() == [1]
    begun.finish()
    folder(begun.folder).begin(overwrite=True)
    assert begun.missing() == [0, 1, 2]


@pytest.mark.parametrize(
    "damage", ["cut", "fewer rows", "other columns", "no counts", "bad counts"]
)
def test_a_damaged_part_is_missing(begun: PartFolder, damage: str) -> None:
    part, counts = begun.part(2), begun.notes / "part-00002.counts.json"
    if damage == "cut":
        part.write_bytes(part.read_bytes()[:-20])
    elif damage == "fewer rows":
        pq.write_table(pa.table({"id": [8, 9]}), part)
    elif damage == "other columns":
        pq.write_table(pa.table({"key": [8, 9, 10]}), part)
    elif damage == "no counts":
        counts.unlink()
    else:
        counts.write_text("{")
    assert begun.missing() == [1, 2]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bundle_sha256", "abd"),
        ("fingerprint", "xyz"),
        ("keep", []),
        ("rows_per_file", 5),
        ("drift", False),
        ("precision", "bf16"),
    ],
)
def test_another_scoring_is_refused(begun: PartFolder, name: str, value: Any) -> None:
    before = sorted(begun.folder.parent.rglob("*"))
    with pytest.raises(UserError, match=rf"another scoring; found {name} \(.* there, .* here\)"):
        folder(begun.folder, **{name: value}).begin(overwrite=False)
    assert sorted(begun.folder.parent.rglob("*")) == before


def test_overwrite_deletes_what_scoring_wrote_and_nothing_else(begun: PartFolder) -> None:
    begun.finish()
    (begun.folder / "notes.txt").write_text("mine")
    new = folder(begun.folder, keep=[])
    new.begin(overwrite=True)
    assert new.missing() == [0, 1, 2]
    assert [p.name for p in begun.folder.iterdir()] == ["notes.txt"]
    assert [p.name for p in begun.notes.iterdir()] == ["scoring.json"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "name",
    ["scores/part-00000.parquet", "scores/a.parquet", "scores/_SUCCESS", "_scores/drift.json"],
)
def test_files_of_others_are_not_touched(tmp_path: Path, overwrite: bool, name: str) -> None:
    path = atomic_write(tmp_path / name, "mine")
    with pytest.raises(UserError, match=f"files that no scoring wrote; found {path.name}"):
        folder(tmp_path / "scores").begin(overwrite=overwrite)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_notes_of_an_earlier_version_are_moved(begun: PartFolder, overwrite: bool) -> None:
    for note in begun.notes.iterdir():
        note.rename(begun.folder / note.name)
    (begun.folder / "drift.html").write_text("")
    folder(begun.folder, **({"keep": []} if overwrite else {})).begin(overwrite=overwrite)
    assert begun.missing() == ([0, 1, 2] if overwrite else [1])
    parts = [] if overwrite else ["part-00000.parquet", "part-00002.parquet"]
    assert sorted(path.name for path in begun.folder.iterdir()) == parts
    assert (begun.notes / "scoring.json").exists()
    assert (begun.notes / "drift.html").exists() != overwrite


def test_no_rows_are_one_part_of_columns_alone(tmp_path: Path) -> None:
    parts = PartFolder(tmp_path, SETTINGS, SCHEMA, 0)
    assert (parts.parts, parts.bounds(0)) == (1, (0, 0))


@pytest.mark.parametrize("name", ["scores", "scores/", "./scores", "x/../scores", "/a/scores"])
def test_the_notes_are_next_to_the_folder(name: str) -> None:
    assert notes_folder(Path(name)).name == "_scores"


def test_what_a_killed_job_was_writing_is_deleted(begun: PartFolder) -> None:
    half = begun.folder / "_part-00001.parquet.tmp-9-ab"
    half.write_bytes(b"half")
    folder(begun.folder).begin(overwrite=False)
    assert not half.exists()
    assert begun.part(0).exists()


def test_tallies_of_all_parts(begun: PartFolder) -> None:
    begun.store_tally(1, Tally(4, {("feature", "x"): np.array([1, 1])}))
    total = sum(begun.tallies(), Tally())
    assert total.rows == 11
    assert total.counts["feature", "x"].tolist() == [3, 3]
