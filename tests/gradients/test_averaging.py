from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_mtl.gradients import over_processes, sum_over_processes, task_gradients, weighted_mean

TASKS, INPUTS = 3, 4
HERE = Path(__file__).parent


def gradients_of(weight: Tensor, rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(T, d) gradients of masked mean losses, NaN labels being absent, and (T,) counts."""
    known = ~labels.isnan()
    counts = known.sum(0)
    error = torch.where(known, torch.tanh(rows @ weight) - labels.nan_to_num(), 0.0).square()
    losses = error.sum(0) / counts.clamp_min(1)
    return task_gradients(losses, [[(weight, None)]], counts > 0)[0], counts


def planted(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(seed)
    weight = torch.randn(INPUTS, TASKS, requires_grad=True)
    rows, labels = torch.randn(12, INPUTS), torch.randn(12, TASKS)
    labels[torch.rand(12, TASKS) < 0.4] = torch.nan
    labels[:5, 2] = torch.nan  # absent from the first part
    return weight, rows, labels


def test_mean_of_micro_batches_is_the_big_batch(seed: int) -> None:
    weight, rows, labels = planted(seed)
    complete, _ = gradients_of(weight, rows, labels)
    cuts = [(0, 5), (5, 6), (6, 12)]
    parts = [gradients_of(weight, rows[a:b], labels[a:b]) for a, b in cuts]
    assert parts[0][1][2] == 0
    mean = weighted_mean([g for g, _ in parts], [n for _, n in parts])
    torch.testing.assert_close(mean, complete)
    assert (complete != 0).any()


def test_a_part_without_labels_is_ignored() -> None:
    parts = [torch.tensor([[torch.nan], [1.0]]), torch.tensor([[4.0], [3.0]])]
    counts = [torch.tensor([0, 1]), torch.tensor([2, 3])]
    torch.testing.assert_close(weighted_mean(parts, counts), torch.tensor([[4.0], [2.5]]))
    none = weighted_mean(parts, [torch.zeros(2), torch.zeros(2)])
    assert torch.equal(none, torch.zeros(2, 1))


def test_parts_and_counts_have_to_match() -> None:
    with pytest.raises(ValueError, match="found 0 counts and 1 parts"):
        weighted_mean([torch.zeros(2, 1)], [])
    with pytest.raises(ValueError, match="found 0 counts and 0 parts"):
        weighted_mean([], [])


def test_one_process_is_the_identity() -> None:
    blocks, counts = [torch.randn(2, 3), torch.randn(2, 5)], torch.tensor([4, 0])
    means, total = over_processes(blocks, counts)
    assert all(a is b for a, b in zip(means, blocks, strict=True))
    assert torch.equal(total, counts)
    assert sum_over_processes(counts) is counts


@pytest.mark.slow
def test_two_processes_are_the_big_batch(
    seed: int, tmp_path: Path, two_ranks: Callable[[Path], list[Any]]
) -> None:
    weight, rows, labels = planted(seed)
    complete, counts = gradients_of(weight, rows, labels)
    torch.save((weight.detach(), rows, labels), tmp_path / "data.pt")
    results = two_ranks(HERE / "rank.py")
    assert results[0] == results[1]  # to the last bit
    torch.testing.assert_close(torch.tensor(results[0]["gradient"]), complete)
    assert results[0]["counts"] == counts.tolist()
