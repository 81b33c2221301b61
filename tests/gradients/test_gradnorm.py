from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_mtl.gradients.gradnorm import GradNorm

TASKS = 4
EVERYBODY = torch.ones(TASKS, dtype=torch.bool)


def drawn(seed: int) -> tuple[Tensor, Tensor]:
    """Losses and gradient lengths, (T,) each."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(0.1 + torch.rand(2, TASKS, generator=generator) * 3)  # type: ignore[return-value]


def test_equals_autograd_and_adam(seed: int) -> None:
    balancer = GradNorm(TASKS, alpha=0.7, learning_rate=0.1)
    w = torch.ones(TASKS, requires_grad=True)
    optimizer = torch.optim.Adam([w], lr=0.1)
    first = drawn(seed)[0]
    for step in range(6):
        losses, lengths = drawn(seed + step)
        balancer.update(losses, lengths, EVERYBODY)
        norms = w * lengths
        pace = (losses / first) / (losses / first).mean()
        target = (norms.mean() * pace**0.7).detach()
        optimizer.zero_grad()
        (norms - target).abs().sum().backward()
        optimizer.step()
        with torch.no_grad():
            w *= TASKS / w.sum()
        torch.testing.assert_close(balancer.weights, w.detach())
    assert (balancer.weights - 1).abs().min() > 1e-3


def test_gradients_become_of_one_length() -> None:
    balancer = GradNorm(3, alpha=0.0, learning_rate=0.01)
    lengths, losses = torch.tensor([0.5, 1.0, 2.0]), torch.ones(3)
    for _ in range(1000):
        balancer.update(losses, lengths, EVERYBODY[:3])
    # w ∝ 1 / length, with sum 3; Adam moves by some 0.01 a step around it.
    expected = 3 / lengths / (1 / lengths).sum()
    torch.testing.assert_close(balancer.weights, expected, rtol=0, atol=0.05)


def test_a_task_that_lags_behind_counts_for_more() -> None:
    balancer = GradNorm(2)
    balancer.update(torch.tensor([1.0, 10.0]), torch.ones(2), EVERYBODY[:2])
    for _ in range(5):
        balancer.update(torch.tensor([0.5, 9.0]), torch.ones(2), EVERYBODY[:2])
    assert balancer.weights[1] > balancer.weights[0]


@pytest.mark.parametrize(("alpha", "expected"), [(0.0, [-1, 1]), (1.0, [-1, 1]), (2.0, [1, -1])])
def test_alpha_bends_the_pace_that_gradients_follow(alpha: float, expected: list[int]) -> None:
    # Ḡ = 1, and the pace of 0.5 and 1.5 to the power of α lies on both sides of G = 0.4 and 1.6.
    ratios, lengths = torch.tensor([0.5, 1.5]), torch.tensor([0.4, 1.6])
    gradient = GradNorm(2, alpha=alpha).gradient(ratios, lengths, EVERYBODY[:2])
    torch.testing.assert_close(gradient, torch.tensor(expected) * lengths)


def test_absent_or_not_finite_tasks_take_no_part(seed: int) -> None:
    pair = GradNorm(2)
    three = GradNorm(TASKS)
    for step in range(3):
        losses, lengths = drawn(seed + step)
        pair.update(losses[[0, 3]], lengths[[0, 3]], EVERYBODY[:2])
        losses[1], lengths[2] = torch.nan, torch.inf
        losses[2] = 5.0
        three.update(losses, lengths, torch.tensor([True, step == 1, True, True]))
    for name, state in three.state_dict().items():
        torch.testing.assert_close(state[[0, 3]], pair.state_dict()[name])
        assert torch.equal(state[[1, 2]], torch.full((2,), float(name == "weights")))
    none = copy.deepcopy(three.state_dict())
    three.update(*drawn(seed), ~EVERYBODY)
    assert all(torch.equal(a, none[name]) for name, a in three.state_dict().items())


def test_a_task_that_comes_later_starts_from_its_own_first_loss(seed: int) -> None:
    balancer = GradNorm(TASKS)
    balancer.update(*drawn(seed), torch.tensor([True, True, True, False]))
    losses, lengths = drawn(seed + 1)
    balancer.update(losses, lengths, EVERYBODY)
    assert balancer.first_losses[3] == losses[3]
    assert torch.equal(balancer.first_losses[:3], drawn(seed)[0][:3])
    torch.testing.assert_close(balancer.weights.sum(), torch.tensor(float(TASKS)))


def test_weights_stay_positive() -> None:
    balancer = GradNorm(2, learning_rate=0.5)
    for _ in range(20):
        balancer.update(torch.ones(2), torch.tensor([1e6, 1e-6]), EVERYBODY[:2])
        assert (balancer.weights > 0).all()
    torch.testing.assert_close(balancer.weights.sum(), torch.tensor(2.0))


def test_one_task_and_zero_gradients() -> None:
    for lengths in (torch.ones(1), torch.zeros(1)):
        balancer = GradNorm(1)
        balancer.update(torch.zeros(1), lengths, EVERYBODY[:1])
        assert torch.equal(balancer.weights, torch.ones(1))


def test_state_dict_resumes_identically(seed: int) -> None:
    one, other = GradNorm(TASKS), GradNorm(TASKS)
    for step in range(3):
        one.update(*drawn(seed + step), EVERYBODY)
    other.load_state_dict(one.state_dict())
    for balancer in (one, other):
        balancer.update(*drawn(seed + 3), EVERYBODY)
    assert torch.equal(one.weights, other.weights)


@pytest.mark.parametrize(("option", "value"), [("alpha", -1), ("learning_rate", 0)])
def test_options_outside_their_range(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{option}: expected .* found {value}"):
        GradNorm(2, **{option: value})
