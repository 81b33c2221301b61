from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recsys_mtl.gradients.partition import Partition

WIDTHS, TASKS = (3, 8, 1, 12), 4


def drawn(widths: tuple[int, ...], seed: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(TASKS, w, generator=generator, dtype=torch.float64) for w in widths]


def check(partition: Partition, rows: list[Tensor], columns: list[list[int]]) -> None:
    """Against the blocks as lists of columns of the joined tensors."""
    flat = torch.cat(rows, 1)
    assert partition.blocks == len(columns)
    grams = partition.grams(rows)
    weights = torch.arange(1.0, 1 + partition.blocks * TASKS, dtype=torch.float64)
    weights = weights.reshape(partition.blocks, TASKS).sin()
    mixed = torch.cat(partition.mix(rows, weights))
    for k, block in enumerate(columns):
        part = flat[:, block]
        torch.testing.assert_close(grams[k], part @ part.T)
        torch.testing.assert_close(mixed[block], weights[k] @ part)


def test_single_each_and_grouped() -> None:
    rows = drawn(WIDTHS)
    ends = [0, 3, 11, 12, 24]
    tensors = [list(range(a, b)) for a, b in itertools.pairwise(ends)]
    check(Partition.single(WIDTHS), rows, [list(range(24))])
    check(Partition.each(WIDTHS), rows, tensors)
    grouped = [tensors[1], tensors[0] + tensors[3], tensors[2]]
    check(Partition.grouped(WIDTHS, [1, 0, 2, 1]), rows, grouped)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=5), st.integers(1, 25))
def test_fixed(widths: list[int], size: int) -> None:
    total = sum(widths)
    columns = [list(range(a, min(a + size, total))) for a in range(0, total, size)]
    check(Partition.fixed(widths, size), drawn(tuple(widths)), columns)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=5), st.integers(1, 25))
def test_every_column_is_in_one_run(widths: list[int], size: int) -> None:
    seen = [torch.zeros(w, dtype=torch.int64) for w in widths]
    for segment in Partition.fixed(widths, size).segments:
        seen[segment.tensor][segment.columns] += 1
    assert all((count == 1).all() for count in seen)


def test_the_last_block_is_as_if_padded_with_zeros() -> None:
    rows = [torch.randn(TASKS, 7, generator=torch.Generator().manual_seed(2))]
    padded = [torch.cat([rows[0], torch.zeros(TASKS, 3)], 1)]
    grams = Partition.fixed([7], 5).grams(rows)
    torch.testing.assert_close(grams, Partition.fixed([10], 5).grams(padded))


def test_types() -> None:
    rows = [torch.randn(TASKS, 6, generator=torch.Generator().manual_seed(2)).bfloat16()]
    partition = Partition.single([6])
    assert partition.grams(rows).dtype == torch.float32
    assert partition.mix(rows, torch.ones(1, TASKS))[0].dtype == torch.bfloat16


def test_no_blocks_of_no_columns() -> None:
    assert Partition.fixed([0], 4).blocks == 0
    partition = Partition.each([0, 2])
    assert torch.equal(partition.grams([torch.ones(2, 0), torch.ones(2, 2)])[0], torch.zeros(2, 2))


@pytest.mark.parametrize("groups", [[0], [0, 2, 1, 3, 4], [0, 2, 2, 0], [1, 1, 1, 1]])
def test_groups_have_to_be_numbered(groups: list[int]) -> None:
    with pytest.raises(ValueError, match=r"groups: expected .* for each of 4 tensors"):
        Partition.grouped(WIDTHS, groups)


def test_size_has_to_be_positive() -> None:
    with pytest.raises(ValueError, match="size: expected 1 or more columns, found 0"):
        Partition.fixed(WIDTHS, 0)
