from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recsys_mtl.adatt import (
    Selection,
    enhanced_losses,
    gradient_coefficients,
    group_prior,
    transfer_weights,
)

TASKS = 5


def drawn(seed: int) -> tuple[Tensor, Tensor, torch.Generator]:
    """Losses (T,) of either sign and weights (T, T) whose rows sum to 1."""
    generator = torch.Generator().manual_seed(seed)
    losses = torch.randn(TASKS, generator=generator)
    affinity = torch.rand(TASKS, TASKS, generator=generator) * 2 - 1
    zeros = torch.zeros(TASKS, TASKS)
    weights = transfer_weights(affinity, zeros, zeros, blend=0.0, selection=Selection())
    return losses, weights, generator


@given(seed=st.integers(0, 2**31), strength=st.floats(0, 2))
def test_before_the_clamp_the_sum_is_a_reweighting(seed: int, strength: float) -> None:
    losses, weights, _ = drawn(seed)
    enhanced, clamped = enhanced_losses(losses, weights, strength=strength, max_ratio=None)
    coefficients = gradient_coefficients(weights, strength)
    torch.testing.assert_close(enhanced.sum(), (coefficients * losses).sum(), atol=1e-5, rtol=1e-5)
    assert not clamped.any()
    expected = [1 + strength * sum(float(w) for w in weights[:, j]) for j in range(TASKS)]
    assert coefficients.tolist() == pytest.approx(expected)


@given(seed=st.integers(0, 2**31), ratio=st.floats(0, 1), sign=st.sampled_from([1.0, 0.0]))
def test_clamp_is_the_published_minimum_and_holds_for_both_signs(
    seed: int, ratio: float, sign: float
) -> None:
    losses, weights, _ = drawn(seed)
    losses = losses.abs() if sign else losses
    enhanced, clamped = enhanced_losses(losses, weights, strength=1.0, max_ratio=ratio)
    term = weights @ losses
    bound = ratio * losses.abs()
    expected = torch.minimum(term, bound) if sign else torch.maximum(-bound, term.minimum(bound))
    torch.testing.assert_close(enhanced, losses + expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(clamped, (weights * losses).sum(-1).abs() > bound)


def test_the_bound_passes_no_gradient() -> None:
    losses = torch.tensor([0.01, 5.0, 2.0], requires_grad=True)
    weights = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.0, 1.0, 0.0]])
    enhanced, clamped = enhanced_losses(losses, weights, strength=0.1, max_ratio=0.5)
    assert clamped.tolist() == [True, False, False]
    enhanced[0].backward(retain_graph=True)
    assert losses.grad is not None
    assert losses.grad.tolist() == [1.0, 0.0, 0.0]  # the bound is off the graph
    losses.grad = None
    enhanced[1].backward()
    torch.testing.assert_close(losses.grad, torch.tensor([0.05, 1.0, 0.05]))


def test_coefficients_of_each_expert() -> None:
    weights = torch.rand(2, 3, 3)
    coefficients = gradient_coefficients(weights, 0.3)
    assert coefficients.shape == (2, 3)
    torch.testing.assert_close(coefficients, 1 + 0.3 * weights.sum(1))


@given(seed=st.integers(0, 2**31), masking=st.sampled_from(["exclude", "zero_logit"]))
def test_gradient_into_w_is_the_loss_against_the_mean_whatever_the_affinity(
    seed: int, masking: str
) -> None:
    """`∂ΣL'/∂W_ij = λ (1 − r) / τ · w_ij (L_j − Σ_k w_ik L_k)`: A enters through w only.

    So its sign is that of the peer's loss against the mean of the row, and descent moves weight to
    the peers with the smallest losses, however opposed their gradients are.
    """
    losses, _, generator = drawn(seed)
    losses = losses.abs() + 0.1
    affinity = torch.rand(TASKS, TASKS, generator=generator) * 2 - 1
    w = torch.randn(TASKS, TASKS, generator=generator, requires_grad=True)
    prior = group_prior([str(i) for i in range(TASKS)], {})
    selection = Selection(temperature=0.8, masking=masking)  # type: ignore[arg-type]
    weights = transfer_weights(affinity, w, prior, blend=0.3, selection=selection)
    enhanced_losses(losses, weights, strength=0.1, max_ratio=None)[0].sum().backward()
    fixed = weights.detach()
    row_mean = (fixed * losses).sum(1, keepdim=True)
    expected = 0.1 * 0.7 / 0.8 * fixed * (losses - row_mean)
    logit_is_free = ~(affinity < -0.1) & ~torch.eye(TASKS, dtype=torch.bool)
    torch.testing.assert_close(w.grad, torch.where(logit_is_free, expected, 0.0))


def test_descent_on_w_ends_at_the_smallest_loss_not_at_the_relative() -> None:
    losses = torch.tensor([1.0, 0.9, 0.2, 0.5])
    affinity = torch.eye(4)
    affinity[0] = torch.tensor([1.0, 0.9, -0.05, 0.0])  # task 1 is task 0's relative
    zeros = torch.zeros(4, 4)
    w = torch.zeros(4, 4, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=50.0)
    before = transfer_weights(affinity, w, zeros, blend=0.1, selection=Selection()).detach()
    for _ in range(200):
        weights = transfer_weights(affinity, w, zeros, blend=0.1, selection=Selection())
        optimizer.zero_grad()
        enhanced_losses(losses, weights, strength=0.1)[0].sum().backward()
        optimizer.step()
    after = transfer_weights(affinity, w, zeros, blend=0.1, selection=Selection()).detach()
    assert before[0].argmax() == 1
    assert after[0, 2] > 0.9  # the smallest loss takes it all
    assert after[1, 2] > 0.9
    assert after[2, 3] > 0.9
