from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from unittest.mock import Mock

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_mtl.data.batch import Batch
from recsys_mtl.data.lanes import BlockedRows, LaneLoader
from recsys_mtl.data.loader import Loader, MemoryLoader, StreamLoader, loading_threads
from recsys_mtl.data.on_device import CopiedLoader, HeldLoader
from recsys_mtl.data.prefetch import made_ahead
from recsys_mtl.data.unknown import UnknownDropout
from recsys_mtl.errors import UserError
from recsys_mtl.wiring import device_rows
from tests.encoded import numbered, row_numbers


def _memory(rows: int, batch_size: int, *, shuffle: bool = True, seed: int = 0, **ranks) -> Loader:
    every = numbered(torch.arange(rows))
    return MemoryLoader(every, batch_size=batch_size, shuffle=shuffle, seed=seed, **ranks)


def _lanes(rows: int, batch_size: int, *, seed: int = 0, **ranks: int) -> Loader:
    """Rows in blocks of seven, in frames of three."""

    def read(block: int) -> Iterator[pl.DataFrame]:
        numbers = range(7 * block, min(7 * block + 7, rows))
        return pl.DataFrame({"n": numbers}, schema={"n": pl.Int64}).iter_slices(3)

    def encode(frame: pl.DataFrame) -> Batch:
        return numbered(frame["n"].to_torch())

    counts = [min(7, rows - first) for first in range(0, rows, 7)]
    blocked = BlockedRows(counts, read, encode)
    size = {"batch_size": batch_size, "shuffle_buffer": 20}
    return LaneLoader(blocked, **size, seed=seed, lanes=8, **ranks)


def _stream(rows: int, batch_size: int, *, chunk: int = 7, **ranks: int) -> Loader:
    def chunks() -> Iterator[Batch]:
        return map(numbered, torch.arange(rows).split(chunk))

    return StreamLoader(chunks, num_rows=rows, batch_size=batch_size, **ranks)


def _held(rows: int, batch_size: int, **options) -> Loader:
    return HeldLoader(_memory(rows, batch_size, **options), torch.device("cpu"))


class _Stream:
    """A stream of a GPU, without one: notes what is asked of it."""

    def __init__(self, notes: list[str], name: str) -> None:
        self.notes, self.name = notes, name

    def __enter__(self) -> None:
        self.notes.append(f"into {self.name}")

    def __exit__(self, *error: object) -> None:
        self.notes.append(f"out of {self.name}")

    def wait_stream(self, other: _Stream) -> None:
        self.notes.append(f"{self.name} waits for {other.name}")


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of streams."""
    notes: list[str] = []
    side, main = _Stream(notes, "side"), _Stream(notes, "main")
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: side)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: main)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda _, s: notes.append(f"of {s.name}"))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor.clone())
    return notes


def test_a_batch_is_copied_beside_the_work_before_it_is_used(notes):
    here = _memory(50, 8)
    loader = CopiedLoader(here, torch.device("cpu"))
    assert row_numbers(loader, 1, 2) == row_numbers(here, 1, 2)
    batches = loader.epoch(1)
    notes.clear()
    tensors = len([*next(batches).tensors()])
    assert notes == ["into side", "out of side", "main waits for side", *["of main"] * tensors]
    batches.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")]


@pytest.mark.parametrize(
    ("rows_on", "free", "kind"),
    [
        ("auto", 4.0, HeldLoader),
        ("auto", 3.9, CopiedLoader),
        ("host", 99.0, CopiedLoader),
        ("device", 0.0, HeldLoader),
    ],
)
def test_rows_are_held_where_there_is_room(notes, monkeypatch, rows_on, free, kind):
    here = _memory(50, 8)
    free = int(free * here.rows.num_bytes)
    monkeypatch.setattr(device_rows, "_free", lambda device: free)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *args, **kwargs: tensor)
    loader = device_rows.rows_for(torch.device("cuda"), here, rows_on)
    assert isinstance(loader, kind)
    assert row_numbers(loader, 3) == row_numbers(here, 3)


def test_what_a_gpu_cannot_do_is_left_to_the_host(caplog, monkeypatch):
    cuda, here, stream = torch.device("cuda"), _memory(50, 8), _stream(50, 8)
    out = torch.OutOfMemoryError("out of memory\nmore")
    for owner, name in ((torch.Tensor, "to"), (torch.cuda, "Stream")):
        monkeypatch.setattr(owner, name, Mock(side_effect=out))
    monkeypatch.setattr(device_rows, "_free", lambda device: 10**9)
    assert device_rows.rows_for(cuda, here, "auto") is here
    assert caplog.messages == [
        "training rows stay on the host: out of memory",
        "a step copies its batch itself: out of memory",
    ]
    assert device_rows.rows_for(cuda, stream, "auto") is stream
    for loader, message in ((here, "cannot be held on cuda"), (stream, "streamed rows cannot")):
        with pytest.raises(UserError, match=message):
            device_rows.rows_for(cuda, loader, "device")


@pytest.mark.parametrize("make", [_memory, _held])
def test_rare_categories_are_drawn_to_be_unknown(make):
    """Every value by its own rate, anew in every epoch, from the global generator."""
    rates = {"user": torch.linspace(0, 1, 99), "seen": torch.full((99,), 0.5)}
    rows = UnknownDropout(make(90, 30), rates)
    assert (rows.num_rows, rows.num_batches) == (90, 3)
    torch.manual_seed(5)
    state, dropped = torch.get_rng_state(), list(rows.epoch(2))
    torch.set_rng_state(state)
    for batch, before in zip(dropped, _memory(90, 30).epoch(2), strict=True):
        assert torch.equal(batch["city"], before["city"])
        for name, ids, kept in (
            ("user", batch["user"], before["user"]),
            ("seen", batch["seen"][0], before["seen"][0]),
        ):
            draws = torch.rand(len(kept)).tolist()
            literal = [
                0 if draw < rates[name][row] else row
                for draw, row in zip(draws, kept.tolist(), strict=True)
            ]
            assert ids.tolist() == literal
        assert torch.equal(batch["seen"][1], before["seen"][1])
        assert torch.equal(batch.labels, before.labels)
    assert 0 < sum((batch["user"] == 0).sum() for batch in dropped) < 90


@pytest.mark.parametrize("make", [_memory, _held, _lanes, _stream])
@settings(max_examples=20)
@given(rows=st.integers(0, 60), batch_size=st.integers(1, 25), epoch=st.integers(0, 3))
def test_every_row_comes_once_and_only_the_last_batch_is_smaller(make, rows, batch_size, epoch):
    loader = make(rows, batch_size)
    batches = row_numbers(loader, epoch)
    assert sorted(n for batch in batches for n in batch) == list(range(rows))
    assert len(batches) == loader.num_batches
    assert loader.num_rows == rows
    assert all(len(batch) == batch_size for batch in batches[:-1])


@pytest.mark.parametrize("make", [_memory, _lanes])
def test_seed_and_epoch_decide_the_order(make):
    order = row_numbers(make(50, 8, seed=3), 1)
    assert row_numbers(make(50, 8, seed=3), 1) == order
    assert row_numbers(make(50, 8, seed=3), 2) != order
    assert row_numbers(make(50, 8, seed=4), 1) != order
    assert order != [list(range(i, min(i + 8, 50))) for i in range(0, 50, 8)]


@pytest.mark.parametrize("make", [_memory, _held, _lanes, _stream])
@pytest.mark.parametrize("start", [0, 1, 3, 6, 7, 9])
def test_an_epoch_resumes_from_any_batch(make, start):
    loader = make(50, 8)
    assert row_numbers(loader, 2, start) == row_numbers(loader, 2)[start:]


@pytest.mark.parametrize("make", [_memory, _held, _lanes, _stream])
@pytest.mark.parametrize("world", [2, 8])
@pytest.mark.parametrize(("rows", "batch_size"), [(35, 8), (20, 6), (3, 4)])
def test_processes_share_the_same_batches(make, world, rows, batch_size):
    """Row p of the order is of process p % world; so another number of them resumes it as well."""
    batches = row_numbers(make(rows, batch_size), 1)
    ranks = [make(rows, batch_size, rank=rank, world=world) for rank in range(world)]
    parts = [row_numbers(rank, 1) for rank in ranks]
    order = [n for batch in batches for n in batch]
    for rank, part in enumerate(parts):
        assert [n for batch in part for n in batch] == order[rank::world]
        for number, batch in enumerate(batches):
            assert sorted(n for one in parts for n in one[number]) == sorted(batch)
            assert [len(one[number]) for one in parts] == ranks[rank].shares(number)
        assert row_numbers(ranks[rank], 1, 2) == part[2:]
        assert ranks[rank].num_batches == len(batches) == len(part)
        assert ranks[rank].num_rows == rows
    if batch_size % world == 0:
        shared = [[part[number] for part in parts] for number in range(len(batches))]
        assert shared == [[batch[r::world] for r in range(world)] for batch in batches]


@pytest.mark.parametrize("ranks", [{"rank": 2, "world": 2}, {"rank": -1}, {"rank": 0, "world": 3}])
def test_ranks_that_cannot_be(ranks):
    with pytest.raises(ValueError, match=r"expected .*; found"):
        _lanes(9, 2, **ranks)


def test_without_shuffling_the_order_is_the_sources():
    for loader in (
        _memory(10, 4, shuffle=False),
        _stream(10, 4),
        _stream(10, 4, chunk=99),
    ):
        assert row_numbers(loader, 5) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
        assert row_numbers(loader, 5, 2) == [[8, 9]]


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("kind", [OSError, MemoryError, KeyboardInterrupt])
def test_whatever_ends_the_thread_is_raised_in_the_consumer(kind, threads):
    def broken() -> Iterator[Batch]:
        yield numbered(torch.arange(10))
        raise kind("disk gone")

    batches = StreamLoader(broken, num_rows=20, batch_size=4, threads=threads).epoch(0)
    assert next(batches).num_rows == 4
    with pytest.raises(kind, match="disk gone"):
        list(batches)
    assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")]


@pytest.mark.parametrize("threads", [1, 4])
def test_closing_early_ends_the_threads_and_reads_no_further(threads):
    read = []

    def counted() -> Iterator[Batch]:
        for numbers in torch.arange(1000).split(10):
            read.append(threading.current_thread().name)
            yield numbered(numbers)

    batches = StreamLoader(counted, num_rows=1000, batch_size=10, threads=threads).epoch(0)
    next(batches)
    batches.close()
    assert len(read) <= threads + 3
    assert {name.split("_")[0] for name in read} == {"prefetch"}
    assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")]


def test_what_several_threads_make_comes_in_the_order_of_the_sources():
    """Items take different times; a source is never read by two threads at a time."""
    reading, most = [0, 0], [0]

    def source(number: int) -> Iterator[tuple[int, int]]:
        for item in range(20):
            reading[number] += 1
            assert reading[number] == 1
            time.sleep(0.0002)
            reading[number] -= 1
            yield number, item

    def make(item: tuple[int, int]) -> tuple[int, int]:
        most[0] += 1
        time.sleep(0.0004 * (item[1] % 3))
        return item

    made = made_ahead([source(0), source(1)], make, ahead=5, threads=4)
    taken = []
    for item in made:
        taken.append(item)
        assert most[0] <= len(taken) + 5
    assert taken == [(number, item) for item in range(20) for number in (0, 1)]


def test_loading_takes_the_threads_of_torch():
    with pytest.MonkeyPatch.context() as patch:
        for threads, expected in ((1, 1), (3, 3), (64, 4)):
            patch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
            assert loading_threads() == expected
