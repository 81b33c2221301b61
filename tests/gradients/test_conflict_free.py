from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchjd.aggregation import ConFIG as TorchjdConFIG

from recsys_mtl.gradients.conflict_free import ConFIG
from recsys_mtl.gradients.partition import Partition


def drawn(seed: int, tasks: int, columns: int = 40) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scales = torch.logspace(-3, 2, tasks, dtype=torch.float64).unsqueeze(1)
    return scales * torch.randn(tasks, columns, generator=generator, dtype=torch.float64)


def combined(*blocks: Tensor) -> list[Tensor]:
    tasks = len(blocks[0])
    combiner = ConFIG(tasks, Partition.each([b.shape[1] for b in blocks]))
    return combiner.combine(blocks, torch.ones(tasks, dtype=torch.bool), step=0).gradients


@pytest.mark.parametrize("tasks", [1, 2, 3, 8])
def test_equals_torchjd_on_each_block(seed: int, tasks: int) -> None:
    blocks = [drawn(seed, tasks), drawn(seed + 1, tasks, 50)]
    for direction, block in zip(combined(*blocks), blocks, strict=True):
        torch.testing.assert_close(direction, TorchjdConFIG()(block), rtol=1e-10, atol=1e-10)


def test_equals_torchjd_where_gradients_depend_on_each_other(seed: int) -> None:
    g = drawn(seed, 4)
    g[1] = 3 * g[0]
    g[3] = g[2] - g[0]
    torch.testing.assert_close(combined(g)[0], TorchjdConFIG()(g), rtol=1e-10, atol=1e-10)


def test_has_the_same_cosine_to_every_task(seed: int) -> None:
    g = drawn(seed, 5)
    (direction,) = combined(g)
    cosines = g @ direction / g.norm(dim=1) / direction.norm()
    torch.testing.assert_close(cosines, cosines[0].expand(5), rtol=1e-10, atol=0)
    assert cosines[0] > 0
    torch.testing.assert_close(direction.norm(), (g @ direction).sum() / direction.norm())


def test_zero_gradients_are_left_out(seed: int) -> None:
    g = drawn(seed, 4)
    g[2] = 0
    (direction,) = combined(g)
    torch.testing.assert_close(direction, combined(g[[0, 1, 3]])[0], rtol=1e-10, atol=1e-10)
    assert torch.equal(combined(torch.zeros(3, 5))[0], torch.zeros(5))


def test_opposite_gradients_give_zero(seed: int) -> None:
    g = drawn(seed, 1)
    assert torch.equal(combined(torch.cat([g, -2 * g]))[0], torch.zeros(40, dtype=g.dtype))


def test_rounding_of_float32_is_not_a_direction(seed: int) -> None:
    """Two gradients that differ by less than their Gram matrix resolves count as one."""
    g = drawn(seed, 2).float()
    g[1] = g[0] * (1 + 1e-7)
    (direction,) = combined(g)
    torch.testing.assert_close(direction, g.sum(0), rtol=1e-5, atol=0)
