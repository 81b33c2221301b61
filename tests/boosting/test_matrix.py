from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from recsys_mtl.boosting import matrix
from recsys_mtl.boosting.matrix import FREQUENT, TreeMatrix
from recsys_mtl.columns.spec import TableSpec, TaskSpec
from recsys_mtl.data.batch import Batch
from tests.boosting.tables import SPEC, TEST, TRAIN
from tests.encoded import data_spec, encoded


def test_columns_in_the_order_of_the_features() -> None:
    columns = TreeMatrix.of(SPEC, TRAIN)
    assert columns.categories == [None, None, None, 12, 1000, *[None] * 21]
    got = columns(TEST)
    np.testing.assert_array_equal(got[:, :3], TEST["x"].numpy())
    np.testing.assert_array_equal(got[:, 3], TEST["city"].numpy())
    np.testing.assert_array_equal(got[:, 4], TEST["shop"].numpy())
    np.testing.assert_array_equal(got[:, 5], TEST["seen"][1].numpy())


LISTS = data_spec(
    tables=(TableSpec("city", 300, 4),),
    lists=(TableSpec("seen", 90, 4), TableSpec("liked", 7, 4)),
    tasks=(TaskSpec("click", "binary", 1),),
)


def lists(count: int, seed: int, *, largest: int) -> tuple[Batch, list[list[list[int]]]]:
    """Rows with two columns of lists, and those lists."""
    random = np.random.default_rng(seed)
    drawn = [
        [
            (random.random(random.integers(0, 9)) ** 3 * top).astype(int).tolist()
            for _ in range(count)
        ]
        for top in (largest, 5)
    ]
    flat = [torch.tensor([entry for row in column for entry in row]) for column in drawn]
    batch = encoded(
        LISTS,
        ids=torch.zeros(count, 1, dtype=torch.int64),
        lists=flat,
        lengths=torch.tensor([[len(row) for row in column] for column in drawn]).T,
        labels=torch.zeros(count, 1),
        weights=torch.from_numpy(random.integers(0, 3, count).astype(np.float32)),
    )
    return batch, drawn


def test_lists_are_their_length_and_the_counts_of_the_ids_of_most_weight() -> None:
    (train, in_train), (test, in_test) = (lists(n, n, largest=t) for n, t in ((200, 80), (50, 90)))
    got, start = TreeMatrix.of(LISTS, train)(test), 1
    for column, of_test in zip(in_train, in_test, strict=True):
        mass: Counter[int] = Counter()
        for row, weight in zip(column, train.weights.tolist(), strict=True):
            for entry in row:
                mass[entry] += weight
        heavy = sorted((e for e in mass if mass[e] > 0), key=lambda e: (-mass[e], e))[:FREQUENT]
        for row, entries in enumerate(of_test):
            expected = [len(entries), *(entries.count(e) for e in sorted(heavy))]
            np.testing.assert_array_equal(got[row, start : start + len(expected)], expected)
        start += 1 + len(heavy)
    assert got.shape == (50, start)
    assert start < 1 + 1 + FREQUENT + 1 + 7, "only the ids that occur"


@pytest.mark.parametrize("lengths", [[0, 0, 0], [0, 2, 0]])
def test_rows_without_entries(lengths: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "FREQUENT", 1)
    batch = encoded(
        LISTS,
        ids=torch.zeros(3, 1, dtype=torch.int64),
        lists=(torch.full((sum(lengths),), 4), torch.zeros(0, dtype=torch.int64)),
        lengths=torch.tensor([lengths, [0, 0, 0]]).T,
        labels=torch.zeros(3, 1),
    )
    columns = TreeMatrix.of(LISTS, batch)
    expected = [lengths, lengths] if sum(lengths) else [lengths]
    np.testing.assert_array_equal(columns(batch)[:, 1:-1].T, expected)
