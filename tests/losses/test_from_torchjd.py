from __future__ import annotations

import pytest
import torch
from torchjd.scalarization import DWA, FAMO, IMTLL, STCH

from recsys_mtl.losses import make_balancer
from recsys_mtl.losses.from_torchjd import ImtlL, Stch

ONES = torch.ones(4)
ALL = torch.ones(4, dtype=torch.bool)


def batches(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.rand(4, generator=generator) + 0.05 for _ in range(count)]


def assert_same(mine: torch.Tensor, reference_value: torch.Tensor, leaf: torch.Tensor) -> None:
    torch.testing.assert_close(mine, reference_value)
    torch.testing.assert_close(
        torch.autograd.grad(mine, leaf), torch.autograd.grad(reference_value, leaf)
    )


def test_stch_equals_torchjd() -> None:
    weights = torch.tensor([1.0, 2.0, 0.5, 1.0])
    balancer, reference = make_balancer("stch", weights), STCH(Stch.mu, weights=weights)
    for losses in batches(3):
        leaf = losses.requires_grad_()
        assert_same(balancer.total(leaf, ALL), reference(leaf), leaf)


def test_imtl_l_equals_torchjd() -> None:
    balancer, reference = make_balancer("imtl_l", ONES), IMTLL(4)
    assert isinstance(balancer, ImtlL)
    with torch.no_grad():
        for scale in (balancer.log_scale, reference.log_scale):
            scale.copy_(torch.tensor([0.1, -0.5, 0.0, 1.0]))
    leaf = batches(1)[0].requires_grad_()
    mine, reference_value = balancer.total(leaf, ALL), reference(leaf)
    torch.testing.assert_close(
        torch.autograd.grad(mine, balancer.log_scale, retain_graph=True),
        torch.autograd.grad(reference_value, reference.log_scale, retain_graph=True),
    )
    assert_same(mine, reference_value, leaf)


def test_imtl_l_learns_one_over_the_loss_whatever_the_task_weight() -> None:
    weights, losses = torch.tensor([1.0, 2.0, 0.5, 1.0]), torch.tensor([0.5, 0.25, 1.0, 2.0])
    balancer = make_balancer("imtl_l", weights)
    optimizer = torch.optim.Adam(balancer.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        balancer.total(losses, ALL).backward()
        optimizer.step()
    torch.testing.assert_close(balancer.weights(), weights / losses, rtol=1e-2, atol=0)


def test_famo_equals_torchjd_over_its_updates() -> None:
    balancer, reference = make_balancer("famo", ONES), FAMO(4)
    for losses in batches(8):
        leaf = losses.requires_grad_()
        assert_same(balancer.total(leaf, ALL), reference(leaf), leaf)
        after = losses.detach() * torch.tensor([0.9, 1.05, 0.5, 1.0])
        balancer.after_step(after, ALL)
        reference.update(after)


def test_famo_favours_the_task_that_falls_slowest() -> None:
    balancer = make_balancer("famo", ONES)
    for losses in batches(20):
        balancer.total(losses, ALL)
        balancer.after_step(losses * torch.tensor([0.5, 0.9, 0.99, 0.7]), ALL)
    balancer.total(ONES, ALL)
    assert balancer.weights().argmax() == 2
    assert balancer.weights().sum().item() == pytest.approx(1.0)


def test_dwa_equals_torchjd_over_epochs() -> None:
    balancer, reference = make_balancer("dwa", ONES), DWA()
    for epoch in range(4):
        for losses in batches(3):
            leaf = (losses * torch.tensor([0.9, 0.5, 1.0, 1.2]) ** epoch).requires_grad_()
            assert_same(balancer.total(leaf, ALL), reference(leaf), leaf)
        balancer.epoch_end()
        reference.step()
    assert balancer.weights().argmax() == 3
    assert balancer.weights().sum().item() == pytest.approx(4.0)


def test_dwa_skips_the_epoch_in_which_a_task_is_absent() -> None:
    balancer = make_balancer("dwa", torch.ones(2))
    both, first = torch.tensor([True, True]), torch.tensor([True, False])
    for losses, present in (([1.0, 1.0], both), ([0.5, 0.0], first), ([0.5, 2.0], both)):
        balancer.total(torch.tensor(losses), present)
        balancer.epoch_end()
    rates = torch.tensor([0.5 / 0.5, 2.0 / 1.0])
    torch.testing.assert_close(balancer.weights(), 2 * torch.softmax(rates / 2, 0))
