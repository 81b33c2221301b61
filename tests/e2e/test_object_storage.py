"""Training and scoring on a server that speaks S3, started here."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_mtl.cli.main import main
from recsys_mtl.data.source import Source
from recsys_mtl.files import atomic_file, atomic_write
from recsys_mtl.storage.filesystem import filesystem_of
from recsys_mtl.storage.location import arrow_file
from recsys_mtl.storage.remote_path import RemotePath

pytest.importorskip("moto", reason="moto[s3], of the extra dev, is not installed")
pytest.importorskip("flask", reason="Flask, which moto's server runs on, is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("endpoint")]

LAKE = RemotePath("s3://lake")
SECRET = "wJalrXUtnFEMI"
SHORT = [
    *("--set", "training.epochs=1", "--set", "training.threads=1"),
    *("--set", "tracking.enabled=false"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    started = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    yield f"http://{host}:{port}"
    started.stop()


@pytest.fixture(scope="module")
def endpoint(server: str) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server)
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.delenv("AWS_REGION", raising=False)
        patch.delenv("AWS_DEFAULT_REGION", raising=False)
        filesystem_of.cache_clear()
        import boto3

        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="lake")
        yield server
    filesystem_of.cache_clear()


@pytest.fixture(scope="module")
def data(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same generated rows on the disk, and in the store under `syn`."""
    folder = tmp_path_factory.mktemp("syn") / "syn"
    for out in (str(folder), "s3://lake/syn"):
        words = ["synthesize", "demo", "--rows", "6000", "--processes", "1", "--out", out]
        assert main(words) == 0
        assert main(words) == 0, "finished before"
    return folder


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of a training on the disk's rows and of one on the store's."""
    folder = tmp_path_factory.mktemp("trained")
    for name, root in (("disk", str(data)), ("store", "s3://lake/syn")):
        config = f"{root}/train.yaml"
        out = str(folder / name)
        assert main(["train", config, "--data", root, "--out", out, *SHORT]) == 0
    return folder


def score(model: Path, rows: object, output: object, *more: str) -> int:
    words = ["predict", str(model), "--input", str(rows), "--output", str(output), *more]
    return main([*words, "--keep", "row_id"])


def table(path: Path | RemotePath) -> pa.Table:
    source, filesystem = arrow_file(path)
    return pq.read_table(source, filesystem=filesystem)


def test_generated_rows_are_those_of_a_disk(data: Path) -> None:
    files = [path.relative_to(data) for path in sorted(data.rglob("*")) if path.is_file()]
    stored = [path for path in (LAKE / "syn").rglob("*") if path.is_file()]
    assert [str(path.relative_to(LAKE / "syn")) for path in stored] == [
        path.as_posix() for path in files
    ]
    for path in files:
        if path.name != "result.json":  # it has the time
            assert (LAKE / "syn" / path.as_posix()).open().read() == (data / path).read_bytes()


def test_a_training_has_the_digits_of_a_disk(trained: Path) -> None:
    disk, store = (trained / name / "model/weights.safetensors" for name in ("disk", "store"))
    assert disk.read_bytes() == store.read_bytes()
    for path in trained.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), "no secret stored"


def test_scores_in_and_out_are_those_of_a_disk(trained: Path, data: Path, tmp_path: Path) -> None:
    model, rows = trained / "disk", LAKE / "syn/rows"
    assert score(model, data / "rows", tmp_path / "one.parquet") == 0
    expected = table(tmp_path / "one.parquet")
    assert score(model, rows, LAKE / "one.parquet") == 0
    assert table(LAKE / "one.parquet").equals(expected)
    assert (LAKE / "one.drift.json").exists()
    assert score(model, data / "rows", tmp_path / "parts", "--rows-per-file", "2500") == 0
    on_disk = [table(path) for path in sorted((tmp_path / "parts").glob("part-*"))]
    for missing in ("", "part-00001.parquet", ""):  # new, resumed, finished
        if missing:
            (LAKE / "parts" / missing).unlink()
        assert score(model, rows, LAKE / "parts", "--rows-per-file", "2500") == 0
        parts = [table(path) for path in (LAKE / "parts").glob("part-*")]
        assert [part.num_rows for part in parts] == [2500, 2500, 1000]
        assert all(a.equals(b) for a, b in zip(parts, on_disk, strict=True))
    assert (LAKE / "parts/_SUCCESS").exists()
    assert (LAKE / "_parts/drift.html").exists()
    assert score(model, rows, LAKE / "parts", "--rows-per-file", "3000") == 2, "another scoring"
    assert score(model, rows, LAKE / "syn") == 2, "the folder holds the input"


def test_csv_files_compressed_or_not(tmp_path: Path) -> None:
    rows = pl.DataFrame({"a": [1.5, 2.0], "b": ["x", "y"]})
    for name, compression in (("a.csv", "uncompressed"), ("b.csv.gz", "gzip")):
        rows.write_csv(tmp_path / name, compression=compression)
        (LAKE / "csv" / name).upload(tmp_path / name)
    source = Source.open("s3://lake/csv/*", root=tmp_path)
    assert pl.concat([frame for _, frame in source.frames(["a", "b"])]).equals(
        pl.concat([rows, rows])
    )


def test_a_file_needs_two_requests_for_its_bytes(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from werkzeug.serving import WSGIRequestHandler

    columns = {f"c{index}": [float(row % 97) for row in range(24_000)] for index in range(40)}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", row_group_size=8_000)
    (LAKE / "wide/a.parquet").upload(tmp_path / "a.parquet")
    requests: list[str] = []
    monkeypatch.setattr(
        WSGIRequestHandler, "log_request", lambda self, *_: requests.append(self.command)
    )
    reader = Source.open("s3://lake/wide/a.parquet", root=tmp_path).readers[0]
    requests.clear()
    frames = list(reader.frames({name: pa.float64() for name in columns}, 24_000, 0))
    assert sum(frame.height for _, frame in frames) == 24_000
    assert requests.count("GET") == 2


def test_an_interrupted_write_leaves_nothing() -> None:
    def interrupted() -> None:
        with atomic_file(LAKE / "half/a.parquet") as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not (LAKE / "half").exists()


@pytest.fixture(scope="module")
def silent() -> Iterator[int]:
    """The port of a server that takes requests and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield listening.getsockname()[1]


@pytest.mark.parametrize(
    ("url", "rows", "words"),
    [
        ("", "s3://lak/rows", "no such bucket: 's3://lak'"),
        ("", "s3://lake/sin/rows", "nothing named 'sin' .* did you mean 'syn'?"),
        ("http://127.0.0.1:9", "s3://lake/rows", "cannot access .* AWS_ENDPOINT_URL"),
        ("http://127.0.0.1:{silent}", "s3://lake/rows", "cannot access .* Timeout"),
        ("", "s3://AKIA:{secret}@lake/rows", "with a user or a password"),
    ],
)
def test_what_is_not_there_is_one_line_and_quick(
    url: str,
    rows: str,
    words: str,
    trained: Path,
    silent: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url.format(silent=silent))
    filesystem_of.cache_clear()
    begun = time.monotonic()
    rows = rows.format(secret=SECRET)
    config = str(trained / "disk/config.yaml")
    assert main(["validate", config, "--set", f"data.path={rows}"]) == 2
    assert time.monotonic() - begun < 60  # 3 attempts of 3 s and their pauses; a busy machine
    filesystem_of.cache_clear()
    printed = capsys.readouterr()
    lines = printed.err.strip().splitlines()
    assert len([line for line in lines if line.startswith("error:")]) == len(lines) == 1
    assert re.search(words, lines[0])
    assert SECRET not in printed.out + printed.err


def test_an_output_in_no_bucket_is_one_line(
    trained: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for output in ("s3://lak/one.parquet", "s3://lak/parts"):
        assert score(trained / "disk", data / "rows", output) == 2
        assert "no such bucket: 's3://lak'" in capsys.readouterr().err


def test_an_upload_replaces_an_object() -> None:
    for text in ("first", "second"):
        atomic_write(LAKE / "note.txt", text)
        assert (LAKE / "note.txt").read_text() == text
