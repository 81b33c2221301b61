"""Shuffled rows in lanes: the order, what is read of it, and how well it mixes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_mtl.columns.rows import ROW
from recsys_mtl.config import Config
from recsys_mtl.data import blocks as blocks_module
from recsys_mtl.data.blocks import Blocks
from recsys_mtl.data.formats import ParquetReader
from recsys_mtl.data.lanes import BlockedRows, LaneLoader
from recsys_mtl.data.loader import generator
from recsys_mtl.data.loading import load_splits
from recsys_mtl.data.opening import open_splits
from recsys_mtl.data.prepare import Prepared, prepare
from recsys_mtl.data.source import Source
from recsys_mtl.data.splits import SPLITS
from recsys_mtl.errors import UserError
from tests.encoded import data_spec, encoded

SPEC = data_spec(tasks=())


class Rows:
    """Numbers in blocks of the given sizes that count what is read of them."""

    def __init__(self, counts: list[int], chunk: int = 5, lacking: int = 0) -> None:
        self.counts, self.chunk, self.lacking = counts, chunk, lacking
        self.read_rows = 0

    def loader(self, batch_size: int = 8, buffer: int = 64, **options: int) -> LaneLoader:
        rows = BlockedRows(self.counts, self._read, self._encode)
        options = {"seed": 0, "lanes": 8, **options}
        return LaneLoader(rows, batch_size=batch_size, shuffle_buffer=buffer, **options)

    def _read(self, block: int) -> Iterator[pl.DataFrame]:
        first = sum(self.counts[:block])
        numbers = np.arange(first, first + self.counts[block] - self.lacking)
        for frame in pl.DataFrame({"n": numbers}).iter_slices(self.chunk):
            self.read_rows += frame.height
            yield frame

    def _encode(self, frame: pl.DataFrame) -> Any:
        number = frame["n"].to_torch().float()
        return encoded(SPEC, labels=torch.zeros(len(number), 0), weights=number)


def flat(lists: Iterable[list[Any]]) -> list[Any]:
    return list(chain.from_iterable(lists))


def numbers(loader: LaneLoader, epoch: int = 0, start: int = 0) -> list[list[int]]:
    return [batch.weights.long().tolist() for batch in loader.epoch(epoch, start)]


def literal(
    counts: list[int], batch_size: int, buffer: int, lanes: int, *, seed: int, epoch: int
) -> list[list[int]]:
    """The batches of an epoch, from all rows at once."""

    def permuted(items: list[Any], *key: int) -> list[Any]:
        order = torch.randperm(len(items), generator=generator(seed, epoch, *key))
        return [items[index] for index in order.tolist()]

    rows = [(block, row) for block, count in enumerate(counts) for row in range(count)]
    first = {block: sum(counts[:block]) for block in range(len(counts))}
    step = math.lcm(batch_size, lanes)
    window = max(buffer // step, 1) * step // lanes
    dealt = []
    for lane in range(lanes):
        size = len(range(lane, sum(counts), lanes))
        own, rows = rows[:size], rows[size:]
        parts = [[row for row in own if row[0] == block] for block in first]
        ordered = flat(permuted([part for part in parts if part], lane, 0))
        windows = [ordered[start : start + window] for start in range(0, size, window)]
        dealt.append(flat(permuted(w, lane, 1 + n) for n, w in enumerate(windows)))
    order = [dealt[p % lanes][p // lanes] for p in range(sum(counts))]
    rows = [first[block] + row for block, row in order]
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]


@settings(max_examples=20)
@given(
    counts=st.lists(st.integers(0, 20), min_size=1, max_size=6),
    batch_size=st.integers(1, 25),
    buffer=st.integers(1, 200),
    lanes=st.sampled_from([1, 2, 8]),
    chunk=st.integers(1, 30),
    seeds=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    threads=st.sampled_from([1, 3]),
)
def test_the_order_is_that_of_the_literal_version(
    counts, batch_size, buffer, lanes, chunk, seeds, threads
):
    seed, epoch = seeds
    options = {"lanes": lanes, "seed": seed, "threads": threads}
    loader = Rows(counts, chunk).loader(batch_size, buffer, **options)
    expected = literal(counts, batch_size, buffer, lanes, seed=seed, epoch=epoch)
    assert numbers(loader, epoch) == expected
    middle = loader.num_batches // 2
    assert numbers(loader, epoch, middle) == expected[middle:]


@pytest.mark.parametrize("lanes", [1, 2, 8])
@pytest.mark.parametrize("rows", [99, 100])
def test_the_order_does_not_depend_on_the_number_of_processes(lanes, rows):
    """A training that is resumed by another number of them gets the batches that were left."""
    blocks = [30] * (rows // 30) + [rows % 30]
    batches = numbers(Rows(blocks).loader(buffer=32, lanes=lanes))
    assert sorted(flat(batches)) == list(range(rows))
    for world in (1, 2, 4, 8):
        if world > lanes:
            continue
        ranks = [
            Rows(blocks).loader(buffer=32, lanes=lanes, rank=r, world=world) for r in range(world)
        ]
        for start in (0, 7):
            parts = [numbers(rank, 0, start) for rank in ranks]
            for number, batch in enumerate(batches[start:]):
                assert [part[number] for part in parts] == [batch[r::world] for r in range(world)]
            assert {len(part) for part in parts} == {len(batches) - start}


@pytest.mark.parametrize(("world", "share"), [(1, 1), (2, 2), (8, 8)])
def test_a_seek_reads_one_window_of_each_lane_and_the_start_of_its_block(world, share):
    """Not the epoch so far; and each process reads its share alone."""
    rows, window, block = 1_200, 80, 15
    source = Rows([block] * (rows // block))
    loader = source.loader(buffer=window, rank=0, world=world)
    numbers(loader)
    complete, source.read_rows = source.read_rows, 0
    assert complete <= (rows + 8 * block) / share
    list(loader.epoch(0, loader.num_batches - 1))
    assert 0 < source.read_rows <= (window + 8 * (block + source.chunk)) / share
    source.read_rows = 0
    assert not list(loader.epoch(0, loader.num_batches))
    assert source.read_rows == 0


@pytest.mark.parametrize("threads", [1, 4])
def test_memory_holds_about_twice_the_buffer(threads, monkeypatch):
    """The windows in use and the next ones; nothing else is encoded ahead."""
    source, made = Rows([25] * 40), []
    encode = source._encode
    monkeypatch.setattr(source, "_encode", lambda frame: made.append(frame.height) or encode(frame))
    batches = source.loader(buffer=160, threads=threads).epoch(0)
    taken = 0
    for batch in batches:
        taken += batch.num_rows
        assert sum(made) <= taken - taken % 160 + 2 * 160 + 20
    assert taken == 1000


def _half_buffer(rows: int, buffer: int, seed: int) -> np.ndarray:
    """The shuffle of before: a random half of the buffer leaves, then it is filled again."""
    rng, held, order = np.random.default_rng(seed), np.arange(buffer), []
    for first in range(buffer, rows, buffer // 2):
        rng.shuffle(held)
        order.append(held[: buffer // 2])
        held = np.concatenate(
            [held[buffer // 2 :], np.arange(first, min(first + buffer // 2, rows))]
        )
    rng.shuffle(held)
    return np.concatenate([*order, held])


def _batch_spread(order: np.ndarray, batch: int) -> float:
    """How far the means of batches of sorted rows are apart: 1 as of a complete shuffle."""
    means = order.reshape(-1, batch).mean(axis=1)
    return float(means.std() / (len(order) / math.sqrt(12 * batch)))


@pytest.mark.parametrize("block", [250, 2_000])
def test_sorted_rows_mix_better_than_by_a_buffer_alone(block):
    """Batches of sorted rows are more alike, and rows travel further, than by half buffers."""
    rows, buffer, batch = 20_000, 2_000, 80
    order = np.array(flat(numbers(Rows([block] * (rows // block), 500).loader(batch, buffer))))
    before = _half_buffer(rows, buffer, 0)
    spread, spread_before = (_batch_spread(one, batch) for one in (order, before))
    assert spread < 3 < 7 < spread_before
    travelled, travelled_before = (np.abs(o - np.arange(rows)).mean() for o in (order, before))
    assert travelled > 5 * travelled_before
    alike, alike_before = (np.corrcoef(o[:-1], o[1:])[0, 1] for o in (order, before))
    assert abs(alike) < 0.5 < 0.9 < alike_before


@pytest.mark.parametrize("threads", [1, 4])
def test_a_block_with_fewer_rows_than_counted_is_reported(threads):
    with pytest.raises(UserError, match="the data changed while they were read"):
        numbers(Rows([50] * 4, lacking=1).loader(threads=threads))


COUNT, GROUP = 4000, 100
KINDS: dict[str, dict[str, Any]] = {
    "fraction": {"kind": "fraction", "valid": 0.1, "test": 0.2},
    "group": {"kind": "group", "column": "user", "valid": 0.1, "test": 0.2},
    "time": {"kind": "time", "column": "t", "valid": 0.1, "test": 0.2, "gap": 9},
    "files": {"kind": "files", "valid": "b.parquet", "test": "b.parquet"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows in two files of small row groups, and as one CSV."""
    made, rng = tmp_path_factory.mktemp("rows"), np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "n": np.arange(COUNT),
            "user": rng.integers(0, 60, COUNT),
            "t": rng.permutation(COUNT),
            "click": rng.random(COUNT) < 0.3,
        }
    )
    for name, rows in (("a", frame.head(2550)), ("b", frame.slice(2550))):
        rows.write_parquet(made / f"{name}.parquet", row_group_size=GROUP)
    frame.write_csv(made / "rows.csv")
    return made


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks_module, "BLOCK_ROWS", 100)


def config(folder: Path, **data: Any) -> Config:
    return Config.model_validate(
        {
            "name": "test",
            "data": {
                "path": "*.parquet",
                "root": str(folder),
                "ignore": ["user", "t"],
                "loading": "stream",
                "shuffle_buffer": 320,
            }
            | data,
            "features": {"n": {"kind": "numeric", "transform": "none"}},
            "tasks": {"click": {"kind": "binary"}},
            "training": {"recipe": "none", "batch_size": 32},
        }
    )


def streamed(prepared: Prepared, epoch: int = 0, start: int = 0) -> list[int]:
    batches = prepared.loaders["train"].epoch(epoch, start)
    return [n for batch in batches for n in batch["n"][:, 0].long().tolist()]


@pytest.fixture(scope="module")
def prepared(folder: Path) -> Prepared:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks_module, "BLOCK_ROWS", 100)
        return prepare(config(folder))


@pytest.mark.parametrize("kind", [*KINDS, "thinned"])
def test_training_rows_are_counted_by_block(folder, kind):
    """By a pass of its own, and while all of them are read to fit, which may thin negatives."""
    if kind == "thinned":
        negatives = {"task": "click", "keep": 0.3}
        splits = prepare(config(folder, split=KINDS["group"], negatives=negatives)).splits
    else:
        splits = open_splits(config(folder, split=KINDS[kind])).counted()
    rows, blocks = pl.concat(list(splits.frames("train", ["n"])))[ROW], splits.blocks
    assert blocks is not None
    counts = [
        int(rows.is_between(first, end, closed="left").sum())
        for first, end in zip(blocks.starts[:-1], blocks.starts[1:], strict=True)
    ]
    assert blocks.counts.tolist() == counts
    assert len(counts) > 10


def test_few_more_rows_are_read_than_used_where_row_groups_are_many(prepared, monkeypatch):
    """Only the row groups that a border of lanes lies in are read twice."""
    read = []
    decoded = ParquetReader._decoded
    monkeypatch.setattr(
        ParquetReader, "_decoded", lambda *args: read.append(args[1].num_rows) or decoded(*args)
    )
    rows = pl.concat(list(prepared.splits.frames("train", ["n"])))["n"]
    assert sum(read) == COUNT
    read.clear()
    assert sorted(streamed(prepared)) == sorted(rows)
    assert sum(read) == pytest.approx(prepared.loaders["train"].read_ratio * COUNT, rel=0.1)
    assert sum(read) < 1.2 * COUNT  # 41 blocks; seven borders lie in one each
    read.clear()
    streamed(prepared, 0, prepared.loaders["train"].num_batches - 1)
    assert sum(read) < 0.32 * COUNT  # a window of each lane, and the starts of their blocks


def test_blocks_are_complete_row_groups(folder):
    source = Source.open("*.parquet", root=folder)
    assert Blocks.of(source, 1).starts.tolist() == [
        *range(0, 2550, GROUP), *range(2550, COUNT, GROUP), COUNT
    ]  # fmt: skip
    assert Blocks.of(source, 1500).starts.tolist() == [0, 1500, 3050, COUNT]
    assert Blocks.of(source, 10**6).starts.tolist() == [0, COUNT]


def test_a_csv_is_one_lane_and_read_once(folder):
    prepared = prepare(config(folder, path="rows.csv", split=KINDS["time"]))
    rows = streamed(prepared)
    assert sorted(rows) == sorted(pl.concat(list(prepared.splits.frames("train", ["n"])))["n"])
    assert max(rows[:320]) < 600


@pytest.mark.parametrize(
    ("data", "world", "expected"),
    [
        ({}, 3, "data.lanes: 3 processes cannot share 8 lanes of streamed training rows"),
        ({"lanes": 1}, 2, "2 processes cannot share 1 lanes"),
        ({"path": "rows.csv"}, 2, "Parquet, as a CSV is one lane"),
        ({"path": "rows.csv", "loading": "memory"}, 2, None),
        ({"lanes": 16}, 16, None),
    ],
)
def test_processes_that_cannot_share_the_lanes_are_refused(folder, prepared, data, world, expected):
    changed = config(folder, **data)
    inputs, share = (changed, open_splits(changed), prepared.preprocessor), {"world": world}
    if expected is None:
        loaders = load_splits(*inputs, rank=1, **share)
        for split in SPLITS:
            own = sum(batch.num_rows for batch in loaders[split].epoch(0))
            assert own == pytest.approx(prepared.rows[split] / world, abs=1)
        return
    with pytest.raises(UserError, match=expected):
        load_splits(*inputs, **share)


def test_a_rank_without_a_row_gives_empty_batches(folder):
    table = pa.table({"n": [1, 2, 3] * 9, "click": [True, False, True] * 9})
    pq.write_table(table, folder / "few.parquet")
    few = {"kind": "files", "valid": "few.parquet", "test": "few.parquet"}
    prepared = prepare(config(folder, path="few.parquet", split=few, lanes=32))
    share = {"rank": 29, "world": 32}
    loaders = load_splits(prepared.config, prepared.splits, prepared.preprocessor, **share)
    (batch,) = loaders["train"].epoch(0)
    assert (batch.num_rows, batch["n"].shape) == (0, (0, prepared.preprocessor.features[0].width))
    assert loaders["train"].shares(0) == [1] * 27 + [0] * 5
