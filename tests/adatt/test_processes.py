from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_mtl.adatt import MEASURES, Observation, Shapes, make_measure
from recsys_mtl.gradients import over_processes, sum_over_processes, task_gradients

TASKS, INPUTS = 3, 4
SHAPES = Shapes(TASKS, inputs=INPUTS, widths=(1, 1, 1))
MIX = torch.tensor([[1.0, 0.5, -1.0], [0.0, 1.0, 0.3], [0.2, 0.0, 1.0]])
HERE = Path(__file__).parent


def affinities(weight: Tensor, steps: list[tuple[Tensor, Tensor]]) -> dict[str, list[float]]:
    """Every measure after some batches of rows and labels (NaN: none), on any processes."""
    by_measure = {}
    for name in MEASURES:
        measure = make_measure(name, SHAPES, debias=True)
        for rows, labels in steps:
            assert measure.observe(_observe(weight, rows, labels))
        by_measure[name] = measure.affinity().flatten().tolist()
    return by_measure


def _observe(weight: Tensor, rows: Tensor, labels: Tensor) -> Observation:
    known = ~labels.isnan()
    outputs = torch.tanh(rows @ weight) @ MIX
    residuals = torch.where(known, 0.3 - labels.nan_to_num(), 0.0)
    error = torch.where(known, outputs - labels.nan_to_num(), 0.0).square()
    local = known.sum(0)
    losses = error.sum(0) / local.clamp_min(1)
    mine = task_gradients(losses, [[(weight, None)]], local > 0)
    gradients, counts = over_processes(mine, local)
    return Observation(
        counts=counts,
        gradients=lambda: gradients,
        outputs=lambda: list(outputs.detach().split(1, 1)),
        inputs=lambda: rows,
        residuals=lambda: list(residuals.split(1, 1)),
        sum_over_processes=sum_over_processes,
    )


def planted(seed: int) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    torch.manual_seed(seed)
    steps = []
    for _ in range(3):
        labels = torch.randn(12, TASKS)
        labels[torch.rand(12, TASKS) < 0.4] = torch.nan
        labels[:5, 2] = torch.nan  # absent from the first process
        steps.append((torch.randn(12, INPUTS) + torch.arange(12).unsqueeze(1), labels))
    steps[2][1][:, 0] = torch.nan  # absent from both
    return torch.randn(INPUTS, TASKS) / 10, steps


@pytest.mark.slow
def test_two_processes_are_the_big_batch(
    seed: int, tmp_path: Path, two_ranks: Callable[[Path], list[Any]]
) -> None:
    weight, steps = planted(seed)
    torch.save((weight, steps), tmp_path / "data.pt")
    expected = affinities(weight.requires_grad_(), steps)
    results = two_ranks(HERE / "rank.py")
    assert results[0] == results[1]  # to the last bit
    for name, affinity in expected.items():
        assert results[0][name] == pytest.approx(affinity, abs=1e-5), name
        assert max(abs(a) for a in affinity[1:4]) > 0.01
