from __future__ import annotations

import pytest
import torch

from recsys_mtl.model.dropout import dropout


def test_evaluation_and_zero_are_the_identity() -> None:
    x = torch.randn(3, 5)
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0, training=True) is x


@pytest.mark.parametrize(("p", "rounded"), [(0.1, 26), (0.5, 128), (0.2, 51), (1e-4, 1)])
def test_share_and_scale(p: float, rounded: int) -> None:
    torch.manual_seed(0)
    x = torch.ones(1001, 999)
    y = dropout(x, p, training=True)
    kept = 1 - rounded / 256
    assert (y == 0).float().mean() == pytest.approx(1 - kept, abs=0.002)
    assert torch.unique(y).tolist() == pytest.approx([0.0, 1 / kept])
    assert y.mean() == pytest.approx(1.0, abs=0.003)


def test_every_position_of_a_random_word_is_uniform() -> None:
    torch.manual_seed(0)
    y = dropout(torch.ones(80_000), 0.25, training=True).view(-1, 8)
    torch.testing.assert_close((y == 0).float().mean(0), torch.full((8,), 0.25), atol=0.02, rtol=0)


def test_gradient_is_the_mask() -> None:
    torch.manual_seed(0)
    x = torch.randn(7, 11, requires_grad=True)
    y = dropout(x, 0.5, training=True)
    y.sum().backward()
    torch.testing.assert_close(x.grad, (y != 0).float() * 2)


def test_seed_decides() -> None:
    x = torch.ones(50)
    torch.manual_seed(3)
    first = dropout(x, 0.5, training=True)
    second = dropout(x, 0.5, training=True)
    torch.manual_seed(3)
    assert torch.equal(dropout(x, 0.5, training=True), first)
    assert not torch.equal(first, second)


def test_keeps_half_precision() -> None:
    assert dropout(torch.ones(9, dtype=torch.bfloat16), 0.5, training=True).dtype == torch.bfloat16
