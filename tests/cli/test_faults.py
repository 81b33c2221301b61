"""What breaks while a training streams its rows ends in one line, exit code 2 and no thread."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from recsys_mtl.cli.main import main
from recsys_mtl.columns.rows import ROW
from recsys_mtl.config import load_config
from recsys_mtl.data import blocks
from recsys_mtl.data.formats import ParquetReader
from recsys_mtl.data.opening import open_splits
from recsys_mtl.data.raw import kept_rows
from tests.toy import Toy

GROUP = 50
STREAM = {"loading": "stream", "shuffle_buffer": 64, "fit_rows": 200}


def _vanish(toy: Toy) -> None:
    toy.data.unlink()


def _written_anew(toy: Toy) -> None:
    pl.read_parquet(toy.data).head(470).write_parquet(toy.data, row_group_size=GROUP)


def _truncated(toy: Toy) -> None:
    toy.data.write_bytes(toy.data.read_bytes()[:-300])


def _no_memory(toy: Toy) -> None:
    raise MemoryError("Unable to allocate")


FAULTS: dict[str, tuple[Callable[[Toy], None], str]] = {
    "a file vanishes": (_vanish, r"data\.path: cannot read '.*toy\.parquet'.*found .*[Nn]o such"),
    "a file is written anew": (
        _written_anew,
        r"toy\.parquet' was written anew while it was in use",
    ),
    "a file is cut": (_truncated, r"data\.path: cannot read '.*toy\.parquet'; expected a whole"),
    "no memory in the thread": (_no_memory, r"out of memory: Unable to allocate .*shuffle_buffer"),
}


@pytest.mark.slow  # trainings
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_the_middle_of_an_epoch_is_one_line(
    name: str, toy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fault, expected = FAULTS[name]
    monkeypatch.setattr(blocks, "BLOCK_ROWS", GROUP)
    toy.rows().write_parquet(toy.data, row_group_size=GROUP)
    document = toy.document()
    document["data"] |= STREAM
    opened = ParquetReader._open
    streamed = [0]

    def open_(reader: ParquetReader) -> Any:
        if threading.current_thread().name.startswith("prefetch"):
            streamed[0] += 1
            if streamed[0] == 12:
                fault(toy)
        return opened(reader)

    monkeypatch.setattr(ParquetReader, "_open", open_)
    assert main(["train", str(toy.write(document)), "--out", str(toy.folder / "out")]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(error) == 1
    assert re.search(expected, error[0])
    assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")]
    assert not (toy.folder / "out" / "model").exists()


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
