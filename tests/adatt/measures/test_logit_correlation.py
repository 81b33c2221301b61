from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from recsys_mtl.adatt import LogitCorrelation, Observation, Shapes

B = 40


def observation(outputs: list[Tensor], counts: Tensor | None = None) -> Observation:
    counts = torch.ones(len(outputs)) if counts is None else counts
    return Observation(counts=counts, outputs=lambda: outputs)


def test_single_columns_are_pearson(seed: int) -> None:
    torch.manual_seed(seed)
    outputs = [100 + torch.randn(B, 1), 1e-4 * torch.randn(B, 1)]
    outputs.append(-3 * outputs[0] + torch.randn(B, 1))
    measure = LogitCorrelation(Shapes(3))
    assert measure.observe(observation(outputs))
    expected = np.corrcoef(torch.cat(outputs, 1).double().numpy().T)
    np.testing.assert_allclose(measure.affinity()[0].numpy(), expected, atol=1e-5)
    assert measure.affinity()[0, 0, 2] < -0.9


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_rows_count_by_their_weight(seed: int, scale: float) -> None:
    torch.manual_seed(seed)
    outputs = [torch.randn(B, 1), torch.randn(B, 2)]
    weights = torch.arange(B) % 3
    repeated = [column.repeat_interleave(weights, 0) for column in outputs]
    weighted, expected = LogitCorrelation(Shapes(2)), LogitCorrelation(Shapes(2))
    weighted.observe(replace(observation(outputs), weights=scale * weights.float()))
    expected.observe(observation(repeated))
    torch.testing.assert_close(weighted.affinity(), expected.affinity())
    nothing = LogitCorrelation(Shapes(2))
    nothing.observe(replace(observation(outputs), weights=torch.zeros(B)))
    assert not nothing.pair_counts().any()


def test_several_columns_are_the_root_of_rv_without_a_sign(seed: int) -> None:
    torch.manual_seed(seed)
    classes, query = torch.randn(B, 3) + 5, torch.randn(B, 5)
    binary = -2 * classes[:, :1] + 0.1 * torch.randn(B, 1)
    measure = LogitCorrelation(Shapes(3))
    measure.observe(observation([classes, query, binary]))
    centred = [(z - z.mean(0)).double().numpy() for z in (classes, query, binary)]
    for i, a in enumerate(centred):
        for j, b in enumerate(centred):
            rv = np.trace(a.T @ b @ b.T @ a)
            rv /= np.sqrt(np.trace((a.T @ a) @ (a.T @ a)) * np.trace((b.T @ b) @ (b.T @ b)))
            assert measure.affinity()[0, i, j].item() == pytest.approx(rv**0.5, abs=1e-5)


@pytest.mark.parametrize("debias", [False, True])
def test_average_over_batches(seed: int, debias: bool) -> None:
    torch.manual_seed(seed)
    measure = LogitCorrelation(Shapes(2), debias=debias)
    batches = [torch.randn(B, 2) for _ in range(5)]
    for z in batches:
        measure.observe(observation([z[:, :1], z[:, 1:]]))
    each = [np.corrcoef(z.double().numpy().T)[0, 1] for z in batches]
    expected = 0.0 if debias else each[0]
    for value in each[0 if debias else 1 :]:
        expected = 0.9 * expected + 0.1 * value
    expected /= 1 - 0.9**5 if debias else 1
    assert measure.affinity()[0, 0, 1].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.3, -1234.567])
def test_an_output_that_does_not_vary_leaves_its_pairs(seed: int, constant: float) -> None:
    torch.manual_seed(seed)
    measure = LogitCorrelation(Shapes(3))
    z = [torch.randn(1000, 1) for _ in range(3)]
    measure.observe(observation(z))
    before = measure.affinity()
    z[1] = constant * (1 + 1e-7 * torch.randn(1000, 1))  # by no more than rounding
    z[0] = z[2] + 0.1 * torch.randn(1000, 1)
    assert measure.observe(observation(z))
    after = measure.affinity()
    assert torch.equal(after[:, 1], before[:, 1])
    assert torch.equal(after[:, :, 1], before[:, :, 1])
    assert after[0, 0, 2] > before[0, 0, 2]
    assert measure.pair_counts()[0].tolist() == [[2, 1, 2], [1, 1, 1], [2, 1, 2]]


def test_one_row_has_no_effect() -> None:
    measure = LogitCorrelation(Shapes(2))
    assert measure.observe(observation([torch.ones(1, 1), torch.ones(1, 4)]))
    assert (measure.affinity() == 0).all()
    assert (measure.pair_counts() == 0).all()


def test_absent_tasks_are_measured_too(seed: int) -> None:
    torch.manual_seed(seed)
    z = [torch.randn(B, 1), torch.randn(B, 1)]
    measure, all_present = LogitCorrelation(Shapes(2)), LogitCorrelation(Shapes(2))
    measure.observe(observation(z, torch.tensor([0, 3])))
    all_present.observe(observation(z))
    assert torch.equal(measure.affinity(), all_present.affinity())
    assert measure.affinity()[0, 0, 1] != 0


def test_nonfinite_is_skipped_and_counted() -> None:
    measure = LogitCorrelation(Shapes(2))
    z = torch.randn(B, 2)
    measure.observe(observation([z[:, :1], z[:, 1:]]))
    before = measure.affinity()
    z[3, 1] = torch.nan
    assert not measure.observe(observation([z[:, :1], z[:, 1:]]))
    assert torch.equal(measure.affinity(), before)
    assert (measure.skipped.item(), measure.observations.item()) == (1, 1)


def test_bf16_autocast_agrees(seed: int) -> None:
    torch.manual_seed(seed)
    z = torch.randn(512, 2) @ torch.randn(2, 2)
    plain, half = LogitCorrelation(Shapes(2)), LogitCorrelation(Shapes(2))
    outputs = [z[:, :1], z[:, 1:]]
    plain.observe(observation(outputs))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half.observe(observation(outputs))
    assert torch.equal(half.affinity(), plain.affinity())  # its own arithmetic stays float32
    half.observe(observation([output.bfloat16() for output in outputs]))
    # outputs rounded to 8 bits carry noise of 2^-9 of their size, which averages out over rows
    torch.testing.assert_close(half.affinity(), plain.affinity(), atol=1e-3, rtol=0)


def test_missing_outputs_are_named() -> None:
    with pytest.raises(ValueError, match=r"logit_correlation: .* with outputs"):
        LogitCorrelation(Shapes(2)).observe(Observation(counts=torch.ones(2)))
