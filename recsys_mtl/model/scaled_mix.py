"""A mixture of shared experts whose gradients into an expert have a factor for each task.

Shapes: T tasks, B rows, S experts, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ScaledMix(torch.autograd.Function):
    """out_t = Σ_s w_ts y_s, with ∂/∂y_s = Σ_t c_ts w_ts ∂out_t; the weights' gradient is plain.

    One backward pass thus applies any mixture of task gradients that is fixed for each expert.
    """

    @staticmethod
    def forward(ctx: Any, weights: Tensor, experts: Tensor, factors: Tensor) -> Tensor:
        """Mixes.

        Args:
            ctx: autograd's.
            weights: (T, B, S).
            experts: (S, B, D), of the same type.
            factors: (T, S), no gradient.

        Returns:
            (T, B, D).
        """
        ctx.save_for_backward(weights, experts, factors)
        return torch.einsum("tbs,sbd->tbd", weights, experts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        """(T, B, D) to the gradients of weights and experts."""
        (gradient,) = gradients
        weights, experts, factors = ctx.saved_tensors
        # In float32 first: 1.05 in bf16 is 1.047, while products' errors average out over rows.
        scaled = (weights * factors.float().unsqueeze(1)).to(weights.dtype)
        return (
            torch.einsum("tbd,sbd->tbs", gradient, experts),
            torch.einsum("tbs,tbd->sbd", scaled, gradient),
            None,
        )
