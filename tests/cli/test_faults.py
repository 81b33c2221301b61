"""What breaks while a training streams its rows ends in one line, exit code 2 and no thread."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import polars as pl
import pytest

from recsys_mtl.cli.main import main
from recsys_mtl.columns.rows import ROW
from recsys_mtl.config import load_config
from recsys_mtl.data import blocks, prefetch
from recsys_mtl.data.formats import ParquetReader
from recsys_mtl.data.opening import open_splits
from recsys_mtl.data.raw import kept_rows
from recsys_mtl.errors import UserError
from recsys_mtl.serving import bundle
from recsys_mtl.training.step import TrainingStep
from tests.toy import Toy

GROUP, AT = 50, 40  # rows; the time a row group is read when the fault comes
STREAM = {"loading": "stream", "shuffle_buffer": 64, "fit_rows": 200}


def _vanish(toy: Toy) -> None:
    toy.data.unlink()


def _written_anew(toy: Toy) -> None:
    pl.read_parquet(toy.data).head(470).write_parquet(toy.data, row_group_size=GROUP)


def _truncated(toy: Toy) -> None:
    toy.data.write_bytes(toy.data.read_bytes()[:-300])


def _no_memory(toy: Toy) -> None:
    raise MemoryError("Unable to allocate")


def _killed(toy: Toy) -> None:
    raise SystemExit


FAULTS: dict[str, tuple[Callable[[Toy], None], str]] = {
    "a file vanishes": (_vanish, r"data\.path: cannot read '.*toy\.parquet'.*found .*[Nn]o such"),
    "a file is written anew": (
        _written_anew,
        r"toy\.parquet' was written anew while it was in use",
    ),
    "a file is cut": (_truncated, r"data\.path: cannot read '.*toy\.parquet'; expected a whole"),
    "no memory in the thread": (_no_memory, r"out of memory: Unable to allocate .*shuffle_buffer"),
    "the thread is killed": (_killed, "data: the thread that reads rows was killed"),
}
SAVED = {"every": 1, "unit": "steps"}


def failed(toy: Toy, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """The one line of a training that fails."""
    words = ["train", str(toy.folder / "toy.yaml"), "--out", str(toy.folder / "out"), *more]
    assert main(words) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(error) == 1
    return error[0]


def checkpoints(toy: Toy) -> list[Path]:
    return sorted((toy.folder / "out/checkpoints").glob("step-*"))


@pytest.mark.slow  # trainings
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_the_middle_of_an_epoch_is_one_line(
    name: str,
    toy: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The last checkpoint is kept."""
    fault, expected = FAULTS[name]
    monkeypatch.setattr(blocks, "BLOCK_ROWS", GROUP)
    toy.rows().write_parquet(toy.data, row_group_size=GROUP)
    document = toy.document()
    document["data"] |= STREAM
    document["training"] |= {"checkpoints": SAVED, "epochs": 4}
    toy.write(document)
    opened = ParquetReader._open
    streamed = [0]

    def open_(reader: ParquetReader) -> Any:
        if threading.current_thread().name.startswith("prefetch"):
            streamed[0] += 1
            if streamed[0] == AT:
                fault(toy)
        return opened(reader)

    monkeypatch.setattr(ParquetReader, "_open", open_)
    assert re.search(expected, failed(toy, capsys))
    assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")]
    assert not (toy.folder / "out" / "model").exists()
    assert f"{checkpoints(toy)[-1]} is kept: the same command resumes there" in caplog.text


@pytest.mark.slow  # a training
def test_a_disk_that_is_full_when_the_model_is_saved_costs_no_training(
    toy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document = toy.document()
    document["training"]["checkpoints"] = SAVED
    toy.write(document)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with monkeypatch.context() as patch:
        patch.setattr(bundle, "_write", Mock(side_effect=full))
        line = failed(toy, capsys)
    assert "cannot write the model" in line
    assert "No space left on device" in line
    assert checkpoints(toy)
    step, steps = TrainingStep.__call__, list[int]()

    def noted(self: TrainingStep, batch: Any, index: int) -> Any:
        steps.append(index)
        return step(self, batch, index)

    monkeypatch.setattr(TrainingStep, "__call__", noted)
    assert main(["train", str(toy.folder / "toy.yaml"), "--out", str(toy.folder / "out")]) == 0
    assert 0 not in steps, "resumed"
    assert (toy.folder / "out/model").is_dir()
    assert not checkpoints(toy)


@pytest.mark.slow  # a training
def test_a_training_that_diverges_keeps_its_checkpoints(
    toy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command ends as before, from the checkpoint; a changed config starts anew."""
    document = toy.document()
    document["training"] |= {"checkpoints": SAVED, "max_nonfinite": 2}
    toy.write(document)
    step, steps = TrainingStep.__call__, list[int]()

    def diverging(self: TrainingStep, batch: Any, index: int) -> Any:
        steps.append(index)
        result = step(self, batch, index)
        return result if index < 3 else replace(result, updated=False)

    monkeypatch.setattr(TrainingStep, "__call__", diverging)
    expected = r"training: training diverged: .* --resume never"
    for resumed in (False, True):
        steps.clear()
        assert re.search(expected, failed(toy, capsys))
        assert steps == list(range(steps[0], 5))
        assert (steps[0] > 0) == resumed
        assert checkpoints(toy)
    slower = ("--set", "training.optimizer.learning_rate=1e-4")
    assert re.search(r"another config.* --resume never", failed(toy, capsys, *slower))
    steps.clear()
    assert "diverged" in failed(toy, capsys, *slower, "--resume", "never")
    assert steps[0] == 0


@pytest.mark.parametrize("threads", [1, 3])
def test_a_thread_that_dies_between_two_items_is_noticed(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "SECONDS", 0.01)
    dying: list[threading.Thread] = []

    def made(item: int) -> int:
        for thread in dying:
            thread.join(10)  # the others are busy: it takes the next item
        return item

    items = prefetch.made_ahead([iter(range(9))], made, ahead=3, threads=threads)
    assert next(items) == 0
    (thread, *_) = [t for t in threading.enumerate() if t.name.startswith("prefetch")]
    dying.append(thread)
    raising = ctypes.pythonapi.PyThreadState_SetAsyncExc
    assert raising(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit)) == 1
    with pytest.raises(UserError, match="the thread that reads rows was killed"):
        list(items)


@pytest.mark.slow  # a training
@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("age", float("inf"), r"infinite value"),
        ("importance", float("nan"), r"weight"),
        ("spend", float("-inf"), r"infinite value"),
    ],
)
def test_a_value_that_only_the_stream_sees_is_one_line(
    column: str, value: float, expected: str, toy: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a training row that the preprocessing was not fitted on."""
    document = toy.document()
    document["data"] |= STREAM
    config = load_config(toy.write(document))
    splits = open_splits(config)
    (frame,) = splits.frames("train", ["age"])
    unseen = ~kept_rows(frame, config.data.fit_rows / splits.counts["train"], config.seed)
    here = pl.int_range(pl.len()) == frame[ROW].filter(pl.Series(unseen))[0]
    wrong = pl.when(here).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
    toy.rows().with_columns(wrong).write_parquet(toy.data)
    assert main(["train", str(toy.folder / "toy.yaml"), "--out", str(toy.folder / "out")]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(error) == 1
    assert re.search(expected, error[0])
