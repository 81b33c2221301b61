from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from recsys_mtl.data import formats
from recsys_mtl.data.files import find_files, fingerprint
from recsys_mtl.data.source import Source
from recsys_mtl.errors import UserError
from recsys_mtl.files import atomic_file, atomic_write, folder_made, remove_folder
from recsys_mtl.reports.output import prepare_out
from recsys_mtl.storage import remote_path
from recsys_mtl.storage.location import located, relative, same
from recsys_mtl.storage.remote_path import RemotePath

ROOT = RemotePath("s3://lake", ("v1",))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RemotePath:
    """A store whose objects are the files of a folder."""
    monkeypatch.setattr(
        remote_path, "filesystem_of", lambda store: (pafs.LocalFileSystem(), str(tmp_path))
    )
    return RemotePath("hdfs://lake")


@pytest.mark.parametrize(
    ("text", "root", "expected"),
    [
        ("rows/a.parquet", None, Path("rows/a.parquet")),
        ("rows", Path("/data"), Path("/data/rows")),
        ("/rows", Path("/data"), Path("/rows")),
        ("file:///a%20b/rows", Path("/data"), Path("/a b/rows")),
        ("file://localhost/rows", None, Path("/rows")),
        ("S3://lake//v1/rows/", Path("/data"), RemotePath("s3://lake", ("v1", "rows"))),
        ("s3://lake/shop=a%20b/part-?.parquet", None, ROOT.parent / "shop=a%20b/part-?.parquet"),
        (Path("s3://lake/v1"), None, ROOT),
        ("rows", ROOT, ROOT / "rows"),
        ("s3://other/rows", ROOT, RemotePath("s3://other", ("rows",))),
        (
            "abfss://box@account.dfs.core.windows.net/rows",
            None,
            RemotePath("abfss://box@account.dfs.core.windows.net", ("rows",)),
        ),
        ("a:/b", None, Path("a:/b")),
    ],
)
def test_a_text_is_a_path_or_a_uri(
    text: str | Path, root: Path | RemotePath | None, expected: Path | RemotePath
) -> None:
    assert located(text, root) == expected
    assert located(str(expected)) == expected, "its own name leads to it"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://host/rows", ["unknown scheme 'http'", "s3://", "file://"]),
        ("s3:///rows", ["without a name after //"]),
        ("file://host/rows", ["the machine 'host'", "file:///path"]),
        ("s3://AKIA:secret@lake/rows", ["with a user or a password", "environment"]),
        ("abfs://box:secret@account/rows", ["with a user or a password"]),
    ],
)
def test_a_wrong_uri_is_one_line_without_its_secrets(text: str, words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        located(text)
    assert all(word in str(error.value) for word in words)
    assert "secret" not in str(error.value)
    assert "AKIA" not in str(error.value)


def test_names_and_parts() -> None:
    path = ROOT / "rows/day=1/a.csv.gz"
    assert (path.name, path.stem, path.suffix, path.suffixes) == (
        "a.csv.gz",
        "a.csv",
        ".gz",
        [".csv", ".gz"],
    )
    assert str(path.parent) == "s3://lake/v1/rows/day=1"
    assert [str(folder) for folder in ROOT.parents] == ["s3://lake"]
    assert path.with_name("_x") == path.parent / "_x"
    assert str(relative(path, ROOT)) == "rows/day=1/a.csv.gz"
    assert relative(path, Path("/data")) is relative(Path("rows"), ROOT) is None
    assert relative(path, RemotePath("s3://lake", ("v",))) is None
    assert same(path, ROOT / "rows/day=1/a.csv.gz")
    assert not same(path, Path("a.csv.gz"))
    assert pickle.loads(pickle.dumps(path)) == path  # noqa: S301 - our own


@pytest.mark.parametrize(
    "paths",
    [
        "x",
        "x/*.parquet",
        "x/*",
        "*",
        "**",
        "**/*.parquet",
        "x/**/c.parquet",
        "*/n",
        "x/[ab].*",
        ["y", "x/b.parquet", "x/*"],
        "x/_d.parquet",
        ".",
    ],
)
@pytest.mark.parametrize("fmt", ["auto", "parquet"])
def test_a_store_has_the_files_that_a_disk_has(
    paths: str | list[str], fmt: str, store: RemotePath, tmp_path: Path
) -> None:
    names = "x/b.parquet x/a.pq x/n/c.parquet x/_d.parquet x/_t/d.parquet x/.e.parquet y/f.parquet"
    for name in [*names.split(), "x/part-0", "x/.h/g.parquet", "y/day=a%20b/g.parquet", "x/t.md"]:
        atomic_write(tmp_path / name, name)
    local, remote = (
        find_files(paths, root=root, fmt=fmt, where="")  # type: ignore[arg-type]
        for root in (tmp_path, store)
    )
    assert [f.name for f in remote] == [f.name for f in local]
    assert [f.partitions for f in remote] == [f.partitions for f in local]
    assert fingerprint(remote) == fingerprint(local), "of the content"
    assert all(isinstance(f.path, RemotePath) for f in remote)


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (
            "tran.parquet",
            ["no such file or folder: 'hdfs://lake/tran.parquet'", "'train.parquet'?"],
        ),
        ("dat/a/b.parquet", ["nothing named 'dat' in 'hdfs://lake'", "did you mean 'data'?"]),
        ("*.nothing", ["no data files at 'hdfs://lake/*.nothing'"]),
    ],
)
def test_missing_objects_are_one_line(
    paths: str, words: list[str], store: RemotePath, tmp_path: Path
) -> None:
    for name in ("train.parquet", "data/notes.txt"):
        atomic_write(tmp_path / name, name)
    with pytest.raises(UserError) as error:
        find_files(paths, root=store, fmt="auto", where="c.yaml: data.path")
    assert str(error.value).startswith("c.yaml: data.path: ")
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("columns", [["a"], ["a", "l"], ["s", "a"]])
@pytest.mark.parametrize("requested", [1, 60_000, 1 << 40])
def test_frames_of_a_store_are_cut_as_those_of_a_disk(
    columns: list[str],
    requested: int,
    store: RemotePath,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(formats, "REMOTE_BYTES", requested)
    rows = range(2_300)
    encoded = pa.array([f"v{row % 7}" for row in rows]).dictionary_encode()
    table = pa.table({"a": rows, "l": [[row, 1] for row in rows], "s": encoded})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=700)
    for chunk, skip in ((500, 0), (500, 900), (5_000, 2_299)):
        local, remote = (
            [*Source.open("a.parquet", root=r).frames(columns, chunk_rows=chunk, skip_rows=skip)]
            for r in (tmp_path, store)
        )
        assert [row for row, _ in remote] == [row for row, _ in local]
        assert all(a.equals(b) for (_, a), (_, b) in zip(local, remote, strict=True))


def test_a_missing_bucket_is_named(store: RemotePath, tmp_path: Path) -> None:
    tmp_path.rmdir()
    with pytest.raises(UserError, match="no such bucket: 'hdfs://lake'"):
        find_files("rows", root=store, fmt="auto", where="")


def test_an_object_is_written_as_a_whole_or_not_at_all(store: RemotePath, tmp_path: Path) -> None:
    path = store / "out/a.txt"
    with folder_made(path.parent):
        assert atomic_write(path, "first") is path
    assert path.read_text() == "first"

    def interrupted() -> None:
        with atomic_file(path) as temporary:
            temporary.write_text("second", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.txt"]
    assert path.read_text() == "first"
    path.unlink()
    path.unlink(missing_ok=True)
    remove_folder(store / "out")
    remove_folder(store / "out")
    assert not (tmp_path / "out").exists()


def test_other_outputs_are_on_a_disk() -> None:
    with pytest.raises(UserError, match=r"s3://lake/v1: this output folder must be on a disk"):
        prepare_out(Path("s3://lake/v1"))
