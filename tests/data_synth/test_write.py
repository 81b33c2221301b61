from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import polars as pl
import psutil
import pytest

from data_synth import Plan, load_plan, synthesize
from data_synth.block import ROWS
from data_synth.load import dump_plan
from recsys_mtl.errors import UserError
from recsys_mtl.folder_lock import locked
from tests.marks import slow_except
from tests.waiting import has_ended, wait_for

COUNT = 2 * ROWS + 1000


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory, plan_of: Callable[..., Plan]) -> Path:
    """One process, one block a chunk."""
    out = tmp_path_factory.mktemp("complete")
    synthesize(plan_of("small"), out, rows=COUNT, processes=1, chunk_rows=ROWS)
    return out


def read(out: Path, kind: str = "rows") -> pl.DataFrame:
    files = sorted((out / kind).glob("month=*/*.parquet"))
    return pl.read_parquet(files, hive_partitioning=False).sort("row_id")


def content(out: Path) -> dict[str, bytes]:
    """Every file by its path, but for the result of the job."""
    files = (path for path in out.rglob("*") if path.is_file() and path.name != "result.json")
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def same_values(a: Path, b: Path) -> bool:
    """Byte for byte: equal Arrow buffers, floats by their bits (NaN is not among them)."""
    pairs = [(read(a, kind), read(b, kind)) for kind in ("rows", "truth")]
    return all(x.equals(y, null_equal=True) and x.schema == y.schema for x, y in pairs)


def test_the_folder(complete: Path, plan_of: Callable[..., Plan], tmp_path: Path) -> None:
    assert sorted(path.name for path in complete.iterdir()) == [
        "plan.yaml", "rows", "train.yaml", "truth", "truth.json",
    ]  # fmt: skip
    months = ["month=2024-01", "month=2024-02", "month=2024-03"]
    for kind in ("rows", "truth"):
        assert sorted(path.name for path in (complete / kind).iterdir()) == months
    assert load_plan(complete / "plan.yaml") == plan_of("small")
    assert (complete / "plan.yaml").read_text() == dump_plan(plan_of("small"))
    assert json.loads((complete / "truth.json").read_text())["rows"] == COUNT


def test_rows_and_truth_have_the_same_order(complete: Path) -> None:
    rows = read(complete)
    assert rows["row_id"].to_list() == list(range(COUNT))
    for part in sorted((complete / "rows").glob("month=*/*.parquet")):
        frame = pl.read_parquet(part, hive_partitioning=False)
        of_truth = complete / "truth" / part.relative_to(complete / "rows")
        truth = pl.read_parquet(of_truth, hive_partitioning=False)
        assert truth["row_id"].equals(frame["row_id"])
        assert frame["day"].dt.strftime("%Y-%m").unique().to_list() == [part.parent.name[6:]]


@pytest.mark.parametrize("chunk_rows", slow_except([ROWS + 1], [1, ROWS + 1, 3 * ROWS]))
def test_another_chunk_size(
    chunk_rows: int, complete: Path, tmp_path: Path, plan_of: Callable[..., Plan]
) -> None:
    synthesize(plan_of("small"), tmp_path, rows=COUNT, processes=1, chunk_rows=chunk_rows)
    assert same_values(tmp_path, complete)
    assert (tmp_path / "truth.json").read_bytes() == (complete / "truth.json").read_bytes()


@pytest.mark.parametrize("rows", slow_except([1, ROWS + 7], [1, 1000, ROWS, ROWS + 7]))
def test_fewer_rows_are_the_first(
    rows: int, complete: Path, tmp_path: Path, plan_of: Callable[..., Plan]
) -> None:
    synthesize(plan_of("small"), tmp_path, rows=rows, processes=1)
    for kind in ("rows", "truth"):
        assert read(tmp_path, kind).equals(read(complete, kind).head(rows), null_equal=True)


@pytest.mark.slow
def test_two_processes(complete: Path, tmp_path: Path, plan_of: Callable[..., Plan]) -> None:
    progress: list[int] = []
    synthesize(
        plan_of("small"),
        tmp_path,
        rows=COUNT,
        processes=2,
        chunk_rows=ROWS,
        progress=progress.append,
    )
    assert content(tmp_path) == content(complete)
    assert progress == [ROWS, ROWS, 1000]


def test_a_finished_folder_is_left_alone(complete: Path, plan_of: Callable[..., Plan]) -> None:
    before = {path: path.stat().st_mtime_ns for path in complete.rglob("*")}
    progress: list[int] = []
    synthesize(
        plan_of("small"), complete, rows=COUNT, progress=progress.append
    )  # of any chunk size
    assert progress == [COUNT]
    assert {path: path.stat().st_mtime_ns for path in complete.rglob("*")} == before


@pytest.mark.parametrize(
    ("overrides", "rows"), [(("seed=1",), COUNT), ((), COUNT + 1), (("features.noise=0.2",), COUNT)]
)
def test_another_job_is_refused(
    overrides: tuple[str, ...], rows: int, complete: Path, plan_of: Callable[..., Plan]
) -> None:
    before = content(complete)
    with pytest.raises(UserError, match="another plan, seed or number of rows -> give another"):
        synthesize(plan_of("small", *overrides), complete, rows=rows)
    assert content(complete) == before


@pytest.mark.parametrize("name", ["notes.txt", "truth.json"])
@pytest.mark.parametrize("text", ["mine", "[]", "{}"])
def test_other_files_are_left_alone(
    name: str, text: str, tmp_path: Path, plan_of: Callable[..., Plan]
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match="cannot write the data there") as caught:
        synthesize(plan_of("small"), tmp_path, rows=10)
    assert len(caught.value.problems) == 1
    assert content(tmp_path) == {name: text.encode()}


class Killed(BaseException):
    """Stands for a kill after a chunk."""


def begin(out: Path, plan: Plan, chunks: int) -> None:
    progress: list[int] = []

    def stop(rows: int) -> None:
        progress.append(rows)
        if len(progress) == chunks:
            raise Killed

    with pytest.raises(Killed):
        synthesize(plan, out, rows=COUNT, processes=1, chunk_rows=ROWS, progress=stop)


def test_it_resumes_after_the_finished_chunks(
    complete: Path, tmp_path: Path, plan_of: Callable[..., Plan]
) -> None:
    begin(tmp_path, plan_of("small"), 2)
    assert not (tmp_path / "truth.json").exists()
    kept = sorted((tmp_path / "rows").rglob("part-*"))
    times = [path.stat().st_mtime_ns for path in kept]
    half = tmp_path / "rows" / "month=2024-01" / "part-00002.parquet.tmp-1-ab"
    half.write_bytes(b"half a file")
    synthesize(plan_of("small"), tmp_path, rows=COUNT, processes=1, chunk_rows=ROWS)
    assert content(tmp_path) == content(complete)
    assert [path.stat().st_mtime_ns for path in kept] == times  # not written again


def test_a_begun_folder_of_another_job_is_refused(
    tmp_path: Path, plan_of: Callable[..., Plan]
) -> None:
    begin(tmp_path, plan_of("small"), 1)
    before = content(tmp_path)
    for plan, rows, chunk in (("seed=1", COUNT, 1), ("seed=0", 9, 1), ("seed=0", COUNT, COUNT)):
        with pytest.raises(UserError, match="a begun data set of another plan, seed, number of"):
            synthesize(plan_of("small", plan), tmp_path, rows=rows, chunk_rows=chunk)
    assert content(tmp_path) == before


def test_a_second_call_for_the_same_folder_is_refused(
    complete: Path, tmp_path: Path, plan_of: Callable[..., Plan]
) -> None:
    """It would write and delete the first one's files."""
    refused = []

    def again(rows: int) -> None:
        with pytest.raises(UserError, match="another job writes there") as caught:
            synthesize(plan_of("small"), tmp_path, rows=COUNT, processes=1, chunk_rows=ROWS)
        refused.append(caught)

    synthesize(plan_of("small"), tmp_path, rows=COUNT, processes=1, chunk_rows=ROWS, progress=again)
    assert refused
    assert content(tmp_path) == content(complete)


def test_what_another_call_finishes_meanwhile_stays(
    tmp_path: Path, plan_of: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the folder and the lock."""
    other = partial(synthesize, plan_of("small", "seed=1"), tmp_path, rows=COUNT, processes=1)

    @contextmanager
    def late(folder: Path) -> Iterator[None]:
        monkeypatch.undo()
        other()
        with locked(folder):
            yield

    monkeypatch.setattr("data_synth.write.locked", late)
    with pytest.raises(UserError, match="a data set of another plan"):
        synthesize(plan_of("small"), tmp_path, rows=COUNT, processes=1)
    shutil.rmtree(tmp_path / "_work")
    before = content(tmp_path)
    other()
    assert content(tmp_path) == before


def test_a_kill_before_the_note_was_written(
    complete: Path, tmp_path: Path, plan_of: Callable[..., Plan]
) -> None:
    (tmp_path / "_work").mkdir()
    for name in ("job.json.tmp-1-ab", "_lock", "_lock.json"):
        (tmp_path / "_work" / name).write_text("{")
    synthesize(plan_of("small"), tmp_path, rows=COUNT, processes=1, chunk_rows=ROWS)
    assert content(tmp_path) == content(complete)


def test_a_kill_while_the_work_is_tidied_up(
    complete: Path, tmp_path: Path, plan_of: Callable[..., Plan]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(complete, out)
    (out / "_work").mkdir()
    (out / "_work" / "part-00001.npz").write_bytes(b"left")
    synthesize(plan_of("small"), out, rows=COUNT, processes=1, chunk_rows=ROWS)
    assert content(out) == content(complete)
    assert not (out / "_work").exists()


@pytest.mark.slow
def test_sigkill_in_the_middle(tmp_path: Path, plan_files: dict[str, Path]) -> None:
    """The command is killed with chunks done and one begun; its workers end; it resumes."""
    chunk = 16 * ROWS
    command = [sys.executable, "-m", "recsys_mtl.cli.main", "synthesize", str(plan_files["small"])]
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    command += ["--rows", str(4 * chunk), "--processes", "2", "--out", str(killed)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_for(lambda: list((killed / "_work").glob("part-*.npz")) or process.poll() is not None)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(workers) >= 2
    wait_for(lambda: all(map(has_ended, workers)), 20)
    done = list((killed / "_work").glob("part-*.npz"))
    assert 1 <= len(done) < 4
    assert not (killed / "truth.json").exists()
    subprocess.run(command, check=True)
    synthesize(load_plan(plan_files["small"]), undisturbed, rows=4 * chunk, processes=1)
    assert content(killed) == content(undisturbed)
    assert json.loads((killed / "truth.json").read_text())["rows"] == 4 * chunk
