from __future__ import annotations

import os
from pathlib import Path

import pytest

from recsys_mtl.data import files
from recsys_mtl.data.files import find_files, fingerprint
from recsys_mtl.errors import UserError


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def names(root: Path, paths: str | list[str], fmt: str = "auto") -> list[str]:
    return [f.name for f in find_files(paths, root=root, fmt=fmt, where="data.path")]


def test_a_file_keeps_its_format_by_suffix(tmp_path: Path) -> None:
    make(tmp_path, "a.csv", "b.csv.gz", "c.parquet", "d")
    files = [find_files(n, root=tmp_path, fmt="auto", where="")[0] for n in ("a.csv", "b.csv.gz")]
    assert [f.format for f in files] == ["csv", "csv"]
    assert find_files("c.parquet", root=tmp_path, fmt="auto", where="")[0].format == "parquet"
    assert find_files("d", root=tmp_path, fmt="auto", where="")[0].format == "parquet"
    assert find_files("d", root=tmp_path, fmt="csv", where="")[0].format == "csv"


def test_a_folder_gives_its_visible_data_files_sorted(tmp_path: Path) -> None:
    make(tmp_path, "x/b.parquet", "x/a.pq", "x/n/c.parquet", "x/_tmp/d.parquet", "x/.e.parquet")
    make(tmp_path, "x/_f.parquet", "x/readme.md", "x/_SUCCESS", "x/part-0")
    assert names(tmp_path, "x") == ["x/a.pq", "x/b.parquet", "x/n/c.parquet"]
    assert names(tmp_path, "x", "parquet") == ["x/a.pq", "x/b.parquet", "x/n/c.parquet", "x/part-0"]


def test_globs_files_and_lists_give_each_file_once(tmp_path: Path) -> None:
    make(tmp_path, "x/b.parquet", "x/n/c.parquet", "x/_d.parquet", "y/e.parquet")
    assert names(tmp_path, "x/*.parquet") == ["x/b.parquet"]
    assert names(tmp_path, "**/*.parquet") == ["x/b.parquet", "x/n/c.parquet", "y/e.parquet"]
    assert names(tmp_path, "**") == ["x/b.parquet", "x/n/c.parquet", "y/e.parquet"]
    assert names(tmp_path, ["y", "x/b.parquet", "x/*"]) == [
        "x/b.parquet",
        "x/n/c.parquet",
        "y/e.parquet",
    ]
    assert names(tmp_path / "x", str(tmp_path / "y" / "*")) == ["e.parquet"]
    assert names(tmp_path, "x/_d.parquet") == ["x/_d.parquet"], "asked for by name"


def test_a_relative_root_and_one_with_wildcard_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "r[1]/x/a.parquet")
    monkeypatch.chdir(tmp_path)
    assert names(Path("."), "r[[]1]/*") == ["r[1]/x/a.parquet"]
    assert names(Path("r[1]"), "x/*.parquet") == ["x/a.parquet"]
    assert names(Path("r[1]"), "x/a.parquet") == ["x/a.parquet"]


def test_partition_values_come_from_the_folders_below_the_root(tmp_path: Path) -> None:
    root = tmp_path / "run=3"
    make(
        root, "x/day=2024-01-01/shop=a%20b/f.parquet", "x/day=__HIVE_DEFAULT_PARTITION__/g.parquet"
    )
    first, second = find_files("x", root=root, fmt="auto", where="")
    assert first.partitions == {"day": "2024-01-01", "shop": "a b"}
    assert second.partitions == {"day": None}
    outside = find_files(str(root), root=tmp_path / "else", fmt="auto", where="")
    assert outside[0].partitions["run"] == "3"


@pytest.mark.parametrize(
    ("paths", "parts"),
    [
        ("tran.parquet", ["no such file or folder", "did you mean 'train.parquet'?"]),
        ("dat/a/b.parquet", ["nothing named 'dat'", "did you mean 'data'?"]),
        ("train.parquet/a", ["no such file or folder"]),
        ("data", ["no data files at", ".parquet"]),
        ("*.nothing", ["no data files at"]),
        ([], ["no path given"]),
        (["train.parquet", "t.csv"], ["Parquet and CSV files together", "t.csv"]),
    ],
)
def test_wrong_paths_are_one_line(tmp_path: Path, paths: str | list[str], parts: list[str]) -> None:
    make(tmp_path, "train.parquet", "data/notes.txt", "t.csv")
    with pytest.raises(UserError) as error:
        find_files(paths, root=tmp_path, fmt="auto", where="c.yaml: data.path")
    message = str(error.value)
    assert message.startswith("c.yaml: data.path: ")
    assert "\n" not in message
    for part in parts:
        assert part in message


def fingerprint_of(root: Path) -> str:
    return fingerprint(find_files("x", root=root, fmt="auto", where=""))


def test_the_fingerprint_follows_names_and_content_but_not_the_root(tmp_path: Path) -> None:
    for root in ("a", "b"):
        make(tmp_path / root, "x/1.parquet", "x/2.parquet")
    assert fingerprint_of(tmp_path / "a") == fingerprint_of(tmp_path / "b")
    (tmp_path / "b/x/2.parquet").write_bytes(b"x/3.parquet")
    changed = fingerprint_of(tmp_path / "b")
    assert changed != fingerprint_of(tmp_path / "a")
    (tmp_path / "b/x/2.parquet").rename(tmp_path / "b/x/4.parquet")
    assert fingerprint_of(tmp_path / "b") != changed


def test_the_fingerprint_of_much_data_reads_edges_and_the_full_footer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "WHOLE_BYTES", 10)
    monkeypatch.setattr(files, "EDGE_BYTES", 16)
    content = bytearray(b"\0" * 200 + (100).to_bytes(4, "little") + b"PAR1")
    make(tmp_path, "x/1.parquet")

    def changed_at(place: int) -> str:
        copy = content.copy()
        copy[place] = 7
        (tmp_path / "x/1.parquet").write_bytes(copy)
        return fingerprint_of(tmp_path)

    (tmp_path / "x/1.parquet").write_bytes(content)
    base = fingerprint_of(tmp_path)
    assert changed_at(0) != base, "head"
    assert changed_at(110) != base, "footer"
    assert changed_at(50) == base, "neither"


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"bad\xff.parquet")).write_bytes(b"")
    with pytest.raises(UserError, match="a name that is not UTF-8"):
        names(tmp_path, ".")
