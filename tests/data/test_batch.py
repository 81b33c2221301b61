from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys_mtl.data.batch import Batch, concat


def _batch(lists: list[list[int]]) -> Batch:
    rows = len(lists)
    flat = [value for values in lists for value in values]
    return Batch(
        numeric=torch.arange(rows * 2).view(rows, 2).float(),
        ids=torch.arange(rows * 3).view(rows, 3),
        list_ids=(torch.tensor(flat, dtype=torch.int64), torch.arange(rows)),
        list_lengths=torch.tensor([[len(values), 1] for values in lists]).view(rows, 2),
        labels=torch.full((rows, 4), float("nan")),
        weights=torch.arange(rows).float(),
    )


def _lists(batch: Batch) -> list[list[int]]:
    return [part.tolist() for part in batch.list_ids[0].split(batch.list_lengths[:, 0].tolist())]


_LISTS = st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=8)


@given(_LISTS, st.data())
def test_select_takes_rows_with_their_lists(lists, data):
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=9))
    picked = _batch(lists).select(torch.tensor(rows, dtype=torch.int64))
    assert picked.num_rows == len(rows)
    assert picked.weights.tolist() == picked.list_ids[1].tolist() == rows
    assert picked.ids[:, 0].tolist() == [3 * row for row in rows]
    assert picked.numeric.shape == (len(rows), 2)
    assert picked.labels.shape == (len(rows), 4)
    if rows:
        assert _lists(picked) == [lists[row] for row in rows]


@given(_LISTS, _LISTS)
def test_concat_puts_rows_one_after_another(one, other):
    both = concat([_batch(one), _batch(other)])
    assert both.num_rows == len(one) + len(other)
    assert _lists(both) == one + other


def test_bytes_and_device():
    batch = _batch([[1, 2], []])
    assert batch.num_bytes == 2 * (2 * 4 + 3 * 8 + 2 * 8 + 4 * 4 + 4) + 8 * (2 + 2)
    assert batch.to(torch.device("cpu")) is batch
    assert batch.to(torch.device("meta")).list_ids[0].device.type == "meta"
