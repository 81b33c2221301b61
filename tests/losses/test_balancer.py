from __future__ import annotations

import pytest
import torch

from recsys_mtl.losses import BALANCERS, Balancer, make_balancer

WEIGHTS = torch.tensor([1.0, 0.5, 3.0])
ALL = torch.ones(3, dtype=torch.bool)


def started(name: str) -> Balancer:
    """A balancer that no longer weighs all tasks alike."""
    balancer = make_balancer(name, WEIGHTS)
    with torch.no_grad():
        for parameter in balancer.parameters():
            parameter.copy_(torch.tensor([0.3, -0.4, 0.1]))
    for losses in ([2.0, 1.0, 3.0], [1.8, 0.7, 2.9], [1.7, 0.4, 2.8]):
        balancer.total(torch.tensor(losses), ALL)
        balancer.after_step(0.9 * torch.tensor(losses), ALL)
        balancer.epoch_end()
    return balancer


def losses_of(theta: torch.Tensor) -> torch.Tensor:
    """Three losses of two parameters, near 1."""
    points = torch.tensor([[1.0, 2.0], [-1.0, 0.5], [0.3, -0.7]])
    return 0.5 + 0.3 * (theta - points).square().sum(1)


@pytest.mark.parametrize("name", BALANCERS)
@pytest.mark.parametrize("present", [[True, True, True], [True, False, True]])
def test_weighted_losses_have_the_totals_gradient(name: str, present: list[bool]) -> None:
    balancer, here = started(name), torch.tensor(present)
    theta = torch.tensor([0.2, -0.4], requires_grad=True)
    losses = torch.where(here, losses_of(theta), 0)
    (of_total,) = torch.autograd.grad(balancer.total(losses, here), theta, retain_graph=True)
    before = {key: value.clone() for key, value in balancer.state_dict().items()}
    weighted = balancer.weighted(losses, here)
    (of_weighted,) = torch.autograd.grad(weighted.sum(), theta)
    torch.testing.assert_close(of_weighted, of_total)
    assert weighted.shape == (3,)
    assert ((weighted != 0) == here).all()
    assert all(torch.equal(v, before[k]) for k, v in balancer.state_dict().items())
    assert all(p.grad is None for p in balancer.parameters())


@pytest.mark.parametrize("name", BALANCERS)
def test_weighted_losses_say_nothing_to_the_balancer(name: str) -> None:
    weighted = started(name).weighted(losses_of(torch.tensor([0.2, -0.4])), ALL)
    assert not weighted.requires_grad


@pytest.mark.parametrize("name", BALANCERS)
def test_weighted_without_any_task_is_zero(name: str) -> None:
    weighted = started(name).weighted(torch.zeros(3), torch.zeros(3, dtype=torch.bool))
    assert torch.equal(weighted, torch.zeros(3))


def test_fixed_weights_weigh() -> None:
    losses = torch.tensor([0.7, 0.2, 1.3])
    torch.testing.assert_close(
        make_balancer("fixed", WEIGHTS).weighted(losses, ALL), WEIGHTS * losses
    )
