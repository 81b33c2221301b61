"""Regulate: transfer weights applied to losses, or to the gradients of shared experts.

Summed over tasks, and before the bound, `Σ_i L_i' = Σ_j (1 + λ Σ_i w_ij) L_j`: adaTT on losses
re-weighs the tasks, and `gradient_coefficients` does the same for each expert on its own.

Shapes: T tasks, E experts.
"""

from __future__ import annotations

import torch
from torch import Tensor


def transferred(
    losses: Tensor, weights: Tensor, *, strength: float = 0.1, max_ratio: float | None = 0.5
) -> tuple[Tensor, Tensor]:
    """`min(λ Σ_j w_ij L_j, max_ratio · |L_i|)`, the bound off the graph.

    Losses may be negative, as those of uncertainty weighting are: the bound is a share of |L_i|
    and acts in both directions: the term is never longer than it. With losses that are not
    negative the lower bound never acts, and this is published adaTT. A term cut to its bound passes
    no gradient.

    Args:
        losses: (T,) losses after weighting; 0 where absent.
        weights: (T, T) transfer weights.
        strength: λ.
        max_ratio: None leaves the term unbounded.

    Returns:
        (T,) terms, and (T,) bool where the bound acted.
    """
    term = strength * (weights * losses).sum(-1)
    if max_ratio is None:
        return term, torch.zeros_like(losses, dtype=torch.bool)
    bound = max_ratio * losses.detach().abs()
    clamped = term.detach().abs() > bound
    return torch.where(clamped, bound.copysign(term.detach()), term), clamped


def enhanced_losses(
    losses: Tensor, weights: Tensor, *, strength: float = 0.1, max_ratio: float | None = 0.5
) -> tuple[Tensor, Tensor]:
    """`L_i' = L_i` plus what is `transferred`; arguments and second result as there."""
    terms, clamped = transferred(losses, weights, strength=strength, max_ratio=max_ratio)
    return losses + terms, clamped


def gradient_coefficients(weights: Tensor, strength: float = 0.1) -> Tensor:
    """`c_j = 1 + λ Σ_i w_ij`: (..., T, T) weights to the (..., T) factors of the gradients g_j."""
    return 1.0 + strength * weights.sum(-2)
