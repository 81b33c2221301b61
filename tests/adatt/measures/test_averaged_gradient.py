from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from recsys_mtl.adatt import AveragedGradient, GradientCosine, Observation, Shapes

WIDTHS, INPUTS, B = (1, 3, 1), 5, 30
SHAPES = Shapes(3, inputs=INPUTS, widths=WIDTHS)


def draw(generator: torch.Generator) -> tuple[Tensor, list[Tensor], Tensor]:
    """Inputs of unequal scales, residuals with unlabelled rows, counts."""
    x = torch.randn(B, INPUTS, generator=generator) * torch.tensor([1, 50, 0.01, 0.1, 1])
    x += torch.tensor([3, 3, 3, 1e6, 3])  # the fourth is constant but for rounding
    residuals, counts = [], []
    for width in WIDTHS:
        labelled = torch.rand(B, generator=generator) < 0.6
        residual = torch.randn(B, width, generator=generator)
        residuals.append(torch.where(labelled.unsqueeze(1), residual, 0.0))
        counts.append(int(labelled.sum()))
    return x, residuals, torch.tensor(counts)


def observation(x: Tensor, residuals: list[Tensor], counts: Tensor) -> Observation:
    return Observation(counts=counts, inputs=lambda: x, residuals=lambda: residuals)


@pytest.mark.parametrize("debias", [False, True])
def test_equals_a_float64_reference(seed: int, debias: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    measure = AveragedGradient(SHAPES, debias=debias)
    averages = [np.zeros((INPUTS, width)) for width in WIDTHS]
    for step in range(4):
        x, residuals, counts = draw(generator)
        assert measure.observe(observation(x, residuals, counts))
        z = x.double().numpy()
        z = (z - z.mean(0)) / np.where(z.std(0) > 1e-6 * z.mean(0), z.std(0), np.inf)
        for i, residual in enumerate(residuals):
            gradient = np.zeros_like(averages[i])
            for row in range(B):
                gradient += np.outer(z[row], residual[row].double().numpy()) / int(counts[i])
            first = step == 0 and not debias
            averages[i] = gradient if first else 0.9 * averages[i] + 0.1 * gradient
    for i, a in enumerate(averages):
        for j, b in enumerate(averages):
            size = np.linalg.norm(a.T @ b)
            size /= np.sqrt(np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
            sign = np.sign((a.T @ b).item()) if a.shape[1] == b.shape[1] == 1 else 1
            affinity = measure.affinity()[0, i, j].item()
            assert affinity == pytest.approx(sign * size, abs=1e-5)


def test_absent_task_keeps_its_average(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    measure = AveragedGradient(SHAPES)
    measure.observe(observation(*draw(generator)))
    before = measure.average.value()
    x, residuals, counts = draw(generator)
    residuals[1], counts[1] = torch.zeros(B, 3), torch.tensor(0)
    measure.observe(observation(x, residuals, counts))
    after = measure.average.value()
    assert torch.equal(after[:, 1:4], before[:, 1:4])
    assert (after[:3, [0, 4]] != before[:3, [0, 4]]).all()
    assert measure.pair_counts()[0].tolist() == [[2, 1, 2], [1, 1, 1], [2, 1, 2]]


def test_nonfinite_is_skipped_and_counted(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    measure = AveragedGradient(SHAPES)
    measure.observe(observation(*draw(generator)))
    before = {name: value.clone() for name, value in measure.state_dict().items()}
    x, residuals, counts = draw(generator)
    residuals[2][4] = torch.inf
    assert not measure.observe(observation(x, residuals, counts))
    after = measure.state_dict()
    assert (after["skipped"].item(), after["observations"].item()) == (1, 1)
    for name in before.keys() - {"skipped"}:
        assert torch.equal(after[name], before[name]), name


def test_finds_linear_relations_where_cosines_of_single_gradients_do_not(seed: int) -> None:
    """Planted: tasks 0 and 1 alike, 2 their opposite, 3 unrelated; noisy labels, small batches.

    Both see the same gradients of a linear probe: only the order of averaging and cosine differs.
    """
    generator = torch.Generator().manual_seed(seed)
    inputs, rows = 20, 16
    directions = torch.linalg.qr(torch.randn(inputs, 2, generator=generator))[0].T
    planted = torch.stack([directions[0], directions[0], -directions[0], directions[1]])
    shapes = Shapes(4, inputs=inputs, widths=(1, 1, 1, 1))
    averaged = AveragedGradient(shapes, decay=0.99)
    cosine = GradientCosine(shapes, decay=0.99, debias=True)
    for _ in range(100):
        x = torch.randn(rows, inputs, generator=generator)
        labels = x @ planted.T + 3 * torch.randn(rows, 4, generator=generator)
        residuals = (labels.mean(0) - labels).split(1, 1)
        counts = torch.full((4,), rows)
        averaged.observe(observation(x, list(residuals), counts))
        probe = (x.T @ torch.cat(residuals, 1)).T / rows
        cosine.observe(Observation(counts=counts, gradients=lambda g=probe: [g]))
    truth = planted @ planted.T
    affinity, noisy = averaged.affinity()[0], cosine.affinity()[0]
    others = ~torch.eye(4, dtype=torch.bool)
    assert (affinity - truth)[others].abs().max() < 0.4
    assert affinity[0, 1] > 0.6
    assert affinity[0, 2] < -0.6
    assert (noisy - truth)[others].abs().max() > 0.6  # shrunk towards 0 by the noise
    assert noisy[0, 1] < 0.4


def test_what_is_missing_or_wrong_is_named(seed: int) -> None:
    x, residuals, counts = draw(torch.Generator().manual_seed(seed))
    measure = AveragedGradient(SHAPES)
    with pytest.raises(ValueError, match=r"averaged_gradient: .* with inputs"):
        measure.observe(Observation(counts=counts, residuals=lambda: residuals))
    with pytest.raises(ValueError, match=r"averaged_gradient: .* with residuals"):
        measure.observe(Observation(counts=counts, inputs=lambda: x))
    with pytest.raises(ValueError, match=r"expected 5 inputs .* found 4 and \[1, 3, 1\]"):
        measure.observe(observation(x[:, :4], residuals, counts))
    with pytest.raises(ValueError, match=r"of 3 tasks, found 0 inputs and widths \(\)"):
        AveragedGradient(Shapes(3))
