from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_mtl.columns.spec import TableSpec
from recsys_mtl.data.batch import Batch, concat
from recsys_mtl.features.block import ItemIds, Ragged, SequenceIds, SequenceNumbers
from tests.encoded import data_spec, encoded

SPEC = data_spec(
    numeric=2,
    tables=[TableSpec(name, 99, 4) for name in ("city", "shop", "user")],
    lists=[TableSpec(name, 99, 4) for name in ("seen", "bought")],
    tasks=(),
)


def _batch(lists: list[list[int]]) -> Batch:
    rows = len(lists)
    flat = [value for values in lists for value in values]
    return encoded(
        SPEC,
        numeric=torch.arange(rows * 2).view(rows, 2).float(),
        ids=torch.arange(rows * 3).view(rows, 3),
        lists=(torch.tensor(flat, dtype=torch.int64), torch.arange(rows)),
        lengths=torch.tensor([[len(values), 1] for values in lists]).view(rows, 2),
        labels=torch.full((rows, 4), float("nan")),
        weights=torch.arange(rows).float(),
    )


def _lists(batch: Batch) -> list[list[int]]:
    entries, lengths = batch["seen"]
    return [part.tolist() for part in entries.split(lengths.tolist())]


_LISTS = st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=8)


@given(_LISTS, st.data())
def test_select_takes_rows_with_their_lists(lists, data):
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=9))
    picked = _batch(lists).select(torch.tensor(rows, dtype=torch.int64))
    assert picked.num_rows == len(rows)
    assert picked.weights.tolist() == picked["bought"][0].tolist() == rows
    assert picked["city"].tolist() == [3 * row for row in rows]
    assert picked["x"].shape == (len(rows), 2)
    assert picked.labels.shape == (len(rows), 4)
    if rows:
        assert _lists(picked) == [lists[row] for row in rows]


@settings(max_examples=20)
@given(_LISTS, st.data())
def test_a_device_selects_the_same_rows(lists, data):
    """Of every kind of block; keys stay on the host."""
    rows = torch.tensor(data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=9))).long()
    plain, (entries, lengths) = _batch(lists), _batch(lists)["seen"]
    ragged = {"a": entries, "b": entries.flip(0)}, lengths[:, None].repeat(1, 2)
    numbers = {name: values / 3 for name, values in ragged[0].items()}, ragged[1]
    more = (SequenceIds(*ragged), SequenceNumbers(*numbers), ItemIds(plain["city"][:, None], {}))
    batch = replace(
        plain,
        blocks={**plain.blocks, **{block.layout: block for block in more}},
        keys=torch.arange(2 * len(lists)).view(-1, 2),
    )
    totals = {
        name: block.lengths[rows].sum(0).tolist()
        for name, block in batch.blocks.items()
        if isinstance(block, Ragged)
    }
    there, here = batch.gather(rows, rows, totals), batch.select(rows)
    assert there.blocks.keys() == here.blocks.keys()
    for one, other in zip(there.tensors(), here.tensors(), strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one.nan_to_num(0.5), other.nan_to_num(0.5))
    assert torch.equal(there.keys, here.keys)


def test_mixed_takes_some_features_of_other_rows():
    batch = _batch([[1, 2], [], [3]])
    other = batch.select(torch.tensor([2, 0, 1]))
    mixed = batch.mixed({"shop", "seen"}, other)
    assert _lists(mixed) == [[3], [1, 2], []]
    for name in ("city", "user", "x"):
        assert torch.equal(mixed[name], batch[name])
    assert torch.equal(mixed["shop"], other["shop"])
    assert torch.equal(mixed["bought"][0], batch["bought"][0])
    assert mixed.weights.tolist() == batch.weights.tolist()
    assert _lists(batch) == [[1, 2], [], [3]]
    assert torch.equal(batch.mixed({"x"}, other)["x"], other["x"])


def test_mixed_leaves_the_items_of_a_task_that_has_the_name_of_a_feature():
    batch = _batch([[1], [2], [3]])
    items = ItemIds(torch.tensor([[7], [8], [9]]), {"city": 1})
    batch = replace(batch, blocks={**batch.blocks, ItemIds.layout: items})
    other = batch.select(torch.tensor([2, 0, 1]))
    mixed = batch.mixed({"city"}, other)
    assert torch.equal(mixed["city"], other["city"])
    assert mixed.items(0, "city").tolist() == [7, 8, 9]


@given(_LISTS, _LISTS)
def test_concat_puts_rows_one_after_another(one, other):
    both = concat([_batch(one), _batch(other)])
    assert both.num_rows == len(one) + len(other)
    assert _lists(both) == one + other


def test_bytes_and_device():
    batch = _batch([[1, 2], []])
    assert batch.num_bytes == 2 * (2 * 4 + 3 * 8 + 2 * 8 + 4 * 4 + 4) + 8 * (2 + 2)
    assert batch.to(torch.device("cpu")) is batch
    assert batch.to(torch.device("meta"))["seen"][0].device.type == "meta"


@given(_LISTS, st.integers(0, 8))
def test_head_is_the_first_rows_of_the_requested_blocks(lists, count):
    whole = _batch(lists)
    some = whole.head(count, {"list", "numeric"})
    assert list(some.blocks) == ["numeric", "list"]
    assert some.num_rows == len(lists[:count]) == len(some.labels)
    assert torch.equal(some["x"], whole["x"][:count])
    assert _lists(some) == lists[:count]


def test_a_feature_is_looked_up_by_its_name():
    batch = _batch([[1, 2], []])
    assert batch["shop"].tolist() == [1, 4]
    assert batch["bought"][1].tolist() == [1, 1]
    with pytest.raises(KeyError, match="other"):
        batch["other"]
