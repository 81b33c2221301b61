from __future__ import annotations

import pytest
import torch

from recsys_mtl.gradients.draws import own_draws

CPU = torch.device("cpu")


def draw(seed: int, step: int) -> list[int]:
    with own_draws(seed, step, CPU):
        return torch.randint(1 << 30, (4,)).tolist()


def test_depends_on_seed_and_step_alone() -> None:
    first = draw(1, 2)
    torch.rand(3)
    assert draw(1, 2) == first
    others = [draw(1, 3), draw(2, 2), draw(2, 1), draw(12, 0), draw(1 << 40, 2), draw(-1, 2)]
    assert len({tuple(numbers) for numbers in [first, *others]}) == 7


def test_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    draw(1, 2)
    with pytest.raises(RuntimeError), own_draws(1, 2, CPU):
        torch.rand(1) @ torch.rand(2)
    assert torch.equal(torch.get_rng_state(), before)
