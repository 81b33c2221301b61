from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recsys_mtl.adatt import GradientCosine, Observation, Shapes

TASKS, WIDTHS = 4, (3, 7)  # two experts of unequal size
EVERYBODY = torch.ones(TASKS, dtype=torch.int64)


def observation(gradients: list[Tensor], counts: Tensor = EVERYBODY) -> Observation:
    return Observation(counts=counts, gradients=lambda: gradients)


def draw(generator: torch.Generator) -> list[Tensor]:
    return [torch.randn(TASKS, width, generator=generator) for width in WIDTHS]


def reference(
    seen: list[tuple[list[Tensor], Tensor]], *, debias: bool, experts: list[list[int]]
) -> np.ndarray:
    """A by literal loops in float64."""
    affinity = np.zeros((len(experts), TASKS, TASKS))
    counts = np.zeros_like(affinity)
    for gradients, present in seen:
        for e, blocks in enumerate(experts):
            g = np.concatenate([gradients[b].double().numpy() for b in blocks], 1)
            for i in range(TASKS):
                for j in range(TASKS):
                    if not (present[i] and present[j]):
                        continue
                    norms = [max(np.sqrt((g[k] ** 2).sum()), 1e-8) for k in (i, j)]
                    cosine = (g[i] * g[j]).sum() / norms[0] / norms[1]
                    if counts[e, i, j] == 0 and not debias:
                        affinity[e, i, j] = cosine
                    else:
                        affinity[e, i, j] = 0.9 * affinity[e, i, j] + 0.1 * cosine
                    counts[e, i, j] += 1
    if debias:
        affinity = affinity / np.where(counts > 0, 1 - 0.9**counts, 1)
    return np.clip(affinity, -1, 1)


@given(
    seed=st.integers(0, 2**31),
    steps=st.integers(0, 6),
    debias=st.booleans(),
    scope=st.sampled_from(["all", "expert"]),
)
def test_equals_a_float64_reference(seed: int, steps: int, debias: bool, scope: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    measure = GradientCosine(Shapes(TASKS, experts=2), debias=debias, scope=scope)  # type: ignore[arg-type]
    seen = []
    for _ in range(steps):
        gradients, present = draw(generator), torch.rand(TASKS, generator=generator) < 0.7
        assert measure.observe(observation(gradients, present.to(torch.int64) * 9))
        seen.append((gradients, present))
    experts = [[0, 1]] if scope == "all" else [[0], [1]]
    expected = reference(seen, debias=debias, experts=experts)
    affinity = measure.affinity()
    assert affinity.dtype == torch.float32
    assert (affinity.abs() <= 1).all()
    np.testing.assert_allclose(affinity.numpy(), expected, atol=1e-6)
    both = [p.unsqueeze(1) & p for _, p in seen]
    total = torch.stack(both).sum(0) if both else torch.zeros(TASKS, TASKS, dtype=torch.int64)
    assert torch.equal(measure.pair_counts(), total.expand(len(experts), -1, -1))


def test_absent_task_leaves_its_row_and_column(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    measure = GradientCosine(Shapes(TASKS))
    measure.observe(observation(draw(generator)))
    before = measure.affinity()
    gradients = draw(generator)
    for block in gradients:
        block[2] = 0  # as an absent task's gradient is
    measure.observe(observation(gradients, torch.tensor([5, 5, 0, 5])))
    after = measure.affinity()
    assert torch.equal(after[:, 2], before[:, 2])
    assert torch.equal(after[:, :, 2], before[:, :, 2])
    changed = (after != before)[0]
    assert changed[0, 1]
    assert changed[1, 3]


@pytest.mark.parametrize("debias", [False, True])
def test_rounding_does_not_leave_the_range(seed: int, debias: bool) -> None:
    torch.manual_seed(seed)
    parallel = torch.randn(60, 1) * torch.randn(1, 7)  # all cosines are 1 or −1, or just beyond
    measure = GradientCosine(Shapes(60), debias=debias)
    for _ in range(3):
        measure.observe(Observation(counts=torch.ones(60), gradients=lambda: [parallel]))
        assert measure.affinity().abs().max() == 1
    assert measure.affinity().abs().min() > 0.999


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf, 3e38])
def test_nonfinite_is_skipped_and_counted(seed: int, bad: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    measure = GradientCosine(Shapes(TASKS))
    measure.observe(observation(draw(generator)))
    before = {name: value.clone() for name, value in measure.state_dict().items()}
    gradients = draw(generator)
    gradients[1][3, 2] = gradients[1][3, 3] = bad  # 3e38 is finite, its length is not
    assert not measure.observe(observation(gradients))
    after = measure.state_dict()
    assert after["skipped"].item() == 1
    assert after["observations"].item() == 1
    for name in before.keys() - {"skipped"}:
        assert torch.equal(after[name], before[name]), name


def test_present_task_with_a_zero_gradient_is_near_nobody(seed: int) -> None:
    gradients = draw(torch.Generator().manual_seed(seed))
    for block in gradients:
        block[1] = 0
    measure = GradientCosine(Shapes(TASKS))
    assert measure.observe(observation(gradients))
    affinity = measure.affinity()[0]
    assert affinity[1].tolist() == [0, 1, 0, 0]
    assert affinity.diagonal().tolist() == [1, 1, 1, 1]


def test_what_is_missing_or_wrong_is_named() -> None:
    with pytest.raises(ValueError, match=r"gradient_cosine: .* with gradients"):
        GradientCosine(Shapes(2)).observe(Observation(counts=torch.ones(2)))
    experts = GradientCosine(Shapes(TASKS, experts=3), scope="expert")
    with pytest.raises(ValueError, match="expected 3 blocks, one an expert; found 2"):
        experts.observe(observation(draw(torch.Generator())))
    with pytest.raises(ValueError, match="scope: expected one of all, expert; found every"):
        GradientCosine(Shapes(2), scope="every")  # type: ignore[arg-type]
