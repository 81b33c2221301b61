from __future__ import annotations

import torch
from torch import Tensor

from recsys_mtl.model.scaled_mix import ScaledMix

T, B, S, D = 3, 5, 2, 4


def drawn(rows: int = B, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, experts and the gradient of what they make."""
    torch.manual_seed(0)
    weights = torch.rand(T, rows, S, dtype=torch.float64).to(dtype).requires_grad_()
    experts = torch.randn(S, rows, D, dtype=torch.float64).to(dtype).requires_grad_()
    return weights, experts, torch.randn(T, rows, D, dtype=torch.float64).to(dtype)


def gradients(
    weights: Tensor, experts: Tensor, gradient: Tensor, factors: Tensor
) -> tuple[Tensor, Tensor]:
    mixed = ScaledMix.apply(weights, experts, factors)
    of_weights, of_experts = torch.autograd.grad(mixed, (weights, experts), gradient)
    return of_weights, of_experts


def test_it_is_the_plain_mixture() -> None:
    weights, experts, _ = drawn()
    mixed = ScaledMix.apply(weights, experts, torch.rand(T, S))
    want = torch.stack(
        [sum(weights[t, :, s, None] * experts[s] for s in range(S)) for t in range(T)]
    )
    torch.testing.assert_close(mixed, want)


def test_factors_of_one_leave_every_gradient() -> None:
    weights, experts, _ = drawn()
    ones = torch.ones(T, S)
    assert torch.autograd.gradcheck(lambda w, e: ScaledMix.apply(w, e, ones), (weights, experts))


def test_each_factor_scales_one_task_on_one_expert() -> None:
    weights, experts, gradient = drawn()
    factors = 1 + torch.rand(T, S, dtype=torch.float64)
    of_weights, of_experts = gradients(weights, experts, gradient, factors)
    for s in range(S):
        want = sum(
            factors[t, s].float() * weights[t, :, s, None].detach() * gradient[t] for t in range(T)
        )
        torch.testing.assert_close(of_experts[s], want)
    plain = gradients(weights, experts, gradient, torch.ones(T, S))[0]
    assert torch.equal(of_weights, plain)


def test_bf16_keeps_factors_that_it_could_not_hold() -> None:
    """1.05 in bf16 is 1.047, a sixteenth less of what it adds; in the mean over rows it is 1.05."""
    weights, experts, _ = drawn(4096, torch.bfloat16)
    gradient = torch.ones(T, 4096, D, dtype=torch.bfloat16)
    factors = [
        gradients(weights, experts, gradient, torch.full((T, S), factor))[1].double().sum()
        for factor in (1.05, 1.0)
    ]
    # A product is rounded by up to 2^-8 of itself, one way or the other as the weight falls: the
    # mean over 4096 rows × 2 experts is off by some 2^-8 / √8192 < 5e-5.
    assert abs(factors[0] / factors[1] - 1.05) < 3e-4
    assert abs(torch.tensor(1.05).bfloat16().item() - 1.05) > 3e-3
