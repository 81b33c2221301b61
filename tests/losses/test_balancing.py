from __future__ import annotations

import pytest
import torch

from recsys_mtl.errors import UserError
from recsys_mtl.losses import BALANCERS, Balancer, make_balancer
from recsys_mtl.losses.balancing import Uncertainty

WEIGHTS = torch.tensor([1.0, 0.5, 3.0])
LOSSES = torch.tensor([0.7, 0.2, 1.3])
ALL = torch.ones(3, dtype=torch.bool)


def trained(name: str, weights: torch.Tensor = WEIGHTS) -> Balancer:
    """A balancer that has seen three epochs of falling losses."""
    balancer = make_balancer(name, weights)
    falling = torch.tensor([0.9, 0.7, 0.99])
    with torch.no_grad():
        for parameter in balancer.parameters():
            parameter.copy_(torch.tensor([0.3, -0.4, 0.1])[: len(weights)])
    losses = 2 * LOSSES[: len(weights)]
    present = ALL[: len(weights)]
    for _ in range(3):
        for _ in range(2):
            balancer.total(losses, present)
            losses = losses * falling[: len(weights)]
            balancer.after_step(losses, present)
        balancer.epoch_end()
    return balancer


def gradient(balancer: Balancer, losses: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    leaf = losses.clone().requires_grad_()
    return torch.autograd.grad(balancer.total(leaf, present), leaf)[0]


def state(balancer: Balancer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in balancer.state_dict().items()}


def test_fixed_is_the_weighted_sum_of_the_present_tasks() -> None:
    balancer = make_balancer("fixed", WEIGHTS)
    total = balancer.total(LOSSES, torch.tensor([True, False, True]))
    assert total.item() == pytest.approx(0.7 + 3 * 1.3)
    torch.testing.assert_close(balancer.weights(), WEIGHTS)


def test_uncertainty_is_the_formula() -> None:
    balancer = make_balancer("uncertainty", WEIGHTS)
    assert isinstance(balancer, Uncertainty)
    s = torch.tensor([0.5, -1.0, 2.0])
    with torch.no_grad():
        balancer.log_variance.copy_(s)
    total = balancer.total(LOSSES, ALL)
    torch.testing.assert_close(total, (WEIGHTS * (torch.exp(-s) * LOSSES + s)).sum())
    torch.testing.assert_close(balancer.weights(), WEIGHTS * torch.exp(-s))
    (by_s,) = torch.autograd.grad(total, balancer.log_variance)
    torch.testing.assert_close(by_s, WEIGHTS * (1 - torch.exp(-s) * LOSSES))


def test_uncertainty_stays_within_four_and_comes_back() -> None:
    balancer = make_balancer("uncertainty", torch.ones(2))
    assert isinstance(balancer, Uncertainty)
    with torch.no_grad():
        balancer.log_variance.copy_(torch.tensor([9.0, -9.0]))
    total = balancer.total(torch.tensor([1.0, 1.0]), ALL[:2])
    expected = torch.exp(torch.tensor([-4.0, 4.0])).sum()  # the two s cancel
    torch.testing.assert_close(total, expected)
    (by_s,) = torch.autograd.grad(total, balancer.log_variance)
    assert by_s[0] > 0  # a step of descent leads back from both limits
    assert by_s[1] < 0


@pytest.mark.parametrize("name", [name for name in BALANCERS if name != "fixed"])
def test_differs_from_the_fixed_sum_and_from_the_mean(name: str) -> None:
    by_loss = gradient(trained(name), LOSSES, ALL)
    against_fixed = by_loss / WEIGHTS
    against_mean = by_loss
    assert against_fixed.max() / against_fixed.min() > 1.01
    assert against_mean.max() / against_mean.min() > 1.01


@pytest.mark.parametrize("name", BALANCERS)
def test_task_weights_act(name: str) -> None:
    doubled = WEIGHTS * torch.tensor([1.0, 2.0, 1.0])
    before = gradient(trained(name), LOSSES, ALL)
    after = gradient(trained(name, doubled), LOSSES, ALL)
    share_before, share_after = before[1] / before[0], after[1] / after[0]
    if name == "stch":  # a preference: it acts inside the soft maximum as well
        assert share_after > 2 * share_before
    else:
        torch.testing.assert_close(share_after, 2 * share_before)


@pytest.mark.parametrize("name", BALANCERS)
def test_absent_task_takes_no_part_and_keeps_its_state(name: str) -> None:
    balancer = trained(name)
    before = state(balancer)
    leaf = torch.tensor([0.6, 0.3, 0.0], requires_grad=True)
    present = torch.tensor([True, True, False])
    balancer.total(leaf, present).backward()
    balancer.after_step(torch.tensor([0.55, 0.29, 0.0]), present)

    assert leaf.grad is not None
    assert leaf.grad[2] == 0
    assert (leaf.grad[:2] != 0).all()
    for name_, value in state(balancer).items():
        assert value[2] == before[name_][2], name_
    for parameter in balancer.parameters():
        assert parameter.grad is not None
        assert parameter.grad[2] == 0


@pytest.mark.parametrize("name", BALANCERS)
def test_absent_task_leaves_the_total_of_the_others(name: str) -> None:
    three, two = make_balancer(name, WEIGHTS), make_balancer(name, WEIGHTS[:2])
    losses = torch.tensor([0.9, 0.4])
    for _ in range(3):
        with_absent = torch.cat([losses, torch.zeros(1)])
        present = torch.tensor([True, True, False])
        a, b = three.total(with_absent, present), two.total(losses, ALL[:2])
        torch.testing.assert_close(a, b)
        losses = losses * torch.tensor([0.5, 0.9])
        three.after_step(torch.cat([losses, torch.zeros(1)]), present)
        two.after_step(losses, ALL[:2])
        three.epoch_end()
        two.epoch_end()


@pytest.mark.parametrize("name", BALANCERS)
def test_no_task_present_is_zero_and_changes_nothing(name: str) -> None:
    balancer = trained(name)
    before = state(balancer)
    leaf = torch.zeros(3, requires_grad=True)
    total = balancer.total(leaf, ~ALL)
    total.backward()
    balancer.after_step(leaf.detach(), ~ALL)
    assert total.item() == 0
    assert leaf.grad is not None
    assert (leaf.grad == 0).all()
    for name_, value in state(balancer).items():
        assert torch.equal(value, before[name_]), name_


@pytest.mark.parametrize("name", BALANCERS)
def test_a_nonfinite_loss_does_not_enter_the_state(name: str) -> None:
    balancer = trained(name)
    broken = torch.tensor([0.5, torch.nan, torch.inf])
    balancer.total(broken, ALL)
    balancer.after_step(broken, ALL)
    balancer.epoch_end()
    assert all(value.isfinite().all() for value in state(balancer).values())


@pytest.mark.parametrize("name", BALANCERS)
def test_state_dict_holds_everything(name: str) -> None:
    balancer, resumed = trained(name), make_balancer(name, torch.ones(3))
    resumed.load_state_dict(balancer.state_dict())
    for _ in range(2):
        torch.testing.assert_close(
            gradient(resumed, LOSSES, ALL), gradient(balancer, LOSSES, ALL), rtol=0, atol=0
        )
        for one in (balancer, resumed):
            one.after_step(0.9 * LOSSES, ALL)
            one.epoch_end()


@pytest.mark.parametrize("name", BALANCERS)
def test_weights_are_the_gradient_and_do_not_change_state(name: str) -> None:
    balancer = trained(name)
    by_loss = gradient(balancer, LOSSES, ALL)
    before = state(balancer)
    with torch.no_grad():
        torch.testing.assert_close(balancer.weights(), by_loss)
    for name_, value in state(balancer).items():
        assert torch.equal(value, before[name_])


def test_only_famo_needs_losses_after_the_step() -> None:
    asking = [n for n in BALANCERS if make_balancer(n, WEIGHTS).needs_losses_after_step]
    assert asking == ["famo"]


def test_a_misspelt_name_is_a_user_error() -> None:
    with pytest.raises(UserError, match="did you mean 'uncertainty'") as caught:
        make_balancer("uncertainity", WEIGHTS)
    assert "balancing.name" in str(caught.value)
