from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_mtl.columns.spec import TableSpec
from recsys_mtl.data.batch import Batch, concat
from recsys_mtl.data.loader import Loader, MemoryLoader, StreamLoader
from recsys_mtl.data.unknown import UnknownDropout
from tests.encoded import data_spec, encoded

SPEC = data_spec(
    numeric=1,
    tables=(TableSpec("city", 99, 4), TableSpec("user", 99, 4)),
    lists=(TableSpec("seen", 99, 4),),
    tasks=(),
)


def _rows(first: int, count: int) -> Batch:
    """Rows that carry their number in every column; row n has a list of n % 3 values."""
    number = torch.arange(first, first + count)
    return encoded(
        SPEC,
        numeric=number[:, None].float(),
        ids=number[:, None].repeat(1, 2),
        lists=(number.repeat_interleave(number % 3),),
        lengths=(number % 3)[:, None],
        labels=number[:, None].float(),
        weights=number.float(),
    )


def _chunks(rows: int, chunk: int) -> Iterator[Batch]:
    for first in range(0, rows, chunk):
        yield _rows(first, min(chunk, rows - first))


def _memory(rows: int, batch_size: int, *, shuffle: bool = True, seed: int = 0) -> Loader:
    return MemoryLoader(_rows(0, rows), batch_size=batch_size, shuffle=shuffle, seed=seed)


def _stream(
    rows: int, batch_size: int, *, buffer: int = 20, seed: int = 0, chunk: int = 7
) -> Loader:
    return StreamLoader(
        lambda: _chunks(rows, chunk),
        num_rows=rows,
        batch_size=batch_size,
        shuffle_buffer=buffer,
        seed=seed,
    )


def test_rare_categories_are_drawn_to_be_unknown():
    """Every value by its own rate, anew in every epoch, from the global generator."""
    rates = {"user": torch.linspace(0, 1, 99), "seen": torch.full((99,), 0.5)}
    rows = UnknownDropout(_memory(90, 30), rates)
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


def _numbers(loader: Loader, epoch: int = 0, start: int = 0) -> list[list[int]]:
    """Row numbers of each batch, after a check that the columns still belong together."""
    batches = []
    for batch in loader.epoch(epoch, start):
        number = batch["city"]
        assert torch.equal(batch["user"], number)
        assert torch.equal(batch["x"][:, 0].long(), number)
        assert torch.equal(batch.labels[:, 0].long(), number)
        assert torch.equal(batch.weights.long(), number)
        entries, lengths = batch["seen"]
        assert torch.equal(lengths, number % 3)
        assert torch.equal(entries, number.repeat_interleave(number % 3))
        batches.append(number.tolist())
    return batches


@pytest.mark.parametrize("make", [_memory, _stream])
@settings(max_examples=20)
@given(rows=st.integers(0, 60), batch_size=st.integers(1, 25), epoch=st.integers(0, 3))
def test_every_row_comes_once_and_only_the_last_batch_is_smaller(make, rows, batch_size, epoch):
    loader = make(rows, batch_size)
    batches = _numbers(loader, epoch)
    assert sorted(n for batch in batches for n in batch) == list(range(rows))
    assert len(batches) == loader.num_batches
    assert loader.num_rows == rows
    assert all(len(batch) == batch_size for batch in batches[:-1])


@pytest.mark.parametrize("make", [_memory, _stream])
def test_seed_and_epoch_decide_the_order(make):
    order = _numbers(make(50, 8, seed=3), 1)
    assert _numbers(make(50, 8, seed=3), 1) == order
    assert _numbers(make(50, 8, seed=3), 2) != order
    assert _numbers(make(50, 8, seed=4), 1) != order
    assert order != [list(range(i, min(i + 8, 50))) for i in range(0, 50, 8)]


@pytest.mark.parametrize("make", [_memory, _stream])
@pytest.mark.parametrize("start", [0, 1, 3, 6, 7, 9])
def test_an_epoch_resumes_from_any_batch(make, start):
    loader = make(50, 8)
    assert _numbers(loader, 2, start) == _numbers(loader, 2)[start:]


@pytest.mark.parametrize(
    "loader",
    [_memory(10, 4, shuffle=False), _stream(10, 4, buffer=0), _stream(10, 4, buffer=0, chunk=99)],
)
def test_without_shuffling_the_order_is_the_sources(loader):
    assert _numbers(loader, 5) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert _numbers(loader, 5, 2) == [[8, 9]]


@settings(max_examples=20)
@given(chunk=st.integers(1, 70), buffer=st.integers(1, 70))
def test_the_streamed_order_does_not_depend_on_how_the_source_is_cut(chunk, buffer):
    assert _numbers(_stream(60, 4, buffer=buffer, chunk=chunk)) == _numbers(
        _stream(60, 4, buffer=buffer, chunk=60)
    )


def test_a_buffer_of_all_rows_shuffles_them_all():
    rows = [n for batch in _numbers(_stream(1000, 10, buffer=1000)) for n in batch]
    early = sum(n < 500 for n in rows[:500])
    assert 200 < early < 300


def test_rows_travel_beyond_one_buffer():
    rows = [n for batch in _numbers(_stream(1000, 10, buffer=100)) for n in batch]
    assert max(place - n for place, n in enumerate(rows)) > 100


def test_an_error_of_the_source_is_raised_in_the_consumer():
    def broken() -> Iterator[Batch]:
        yield _rows(0, 10)
        raise OSError("disk gone")

    loader = StreamLoader(broken, num_rows=20, batch_size=4, shuffle_buffer=0, seed=0)
    batches = loader.epoch(0)
    assert next(batches).num_rows == 4
    with pytest.raises(OSError, match="disk gone"):
        list(batches)


def test_closing_early_ends_the_thread_and_reads_no_further():
    read = []

    def counted() -> Iterator[Batch]:
        for chunk in _chunks(1000, 10):
            read.append(threading.current_thread().name)
            yield chunk

    loader = StreamLoader(counted, num_rows=1000, batch_size=10, shuffle_buffer=0, seed=0)
    batches = loader.epoch(0)
    next(batches)
    batches.close()
    assert len(read) <= 4
    assert {name.split("_")[0] for name in read} == {"prefetch"}
    assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")]


def test_memory_stays_near_twice_the_buffer(monkeypatch):
    alive = []
    monkeypatch.setattr(
        "recsys_mtl.data.loader.concat",
        lambda pieces: alive.append(sum(p.num_rows for p in pieces)) or concat(pieces),
    )
    assert len(_numbers(_stream(500, 10, buffer=100))) == 50
    assert max(alive) == 100
