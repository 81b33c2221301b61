"""Diagnostics of a combined step: where tasks conflict, and what combining changed.

Shapes: T tasks, P of them present, K blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Diagnostics:
    """Numbers of one step, on the CPU; sums and counts, which callers average over steps.

    Attributes:
        cosines: (K, T, T) cosines of the tasks' gradients; 0 where not known.
        known: (K, T, T) bool: both tasks are present, are two, and neither gradient is zero there.
        weights: (K, T) what each task's gradient counted for, 0 for absent tasks; None where the
            method does not weigh gradients.
        length: (K,) of the combined gradient.
        sum_length: (K,) of the plain sum of the present tasks' gradients.
        extra: a method's own numbers, such as CAGT's λ, by name.
    """

    cosines: Tensor
    known: Tensor
    weights: Tensor | None
    length: Tensor
    sum_length: Tensor
    extra: dict[str, float] = field(default_factory=dict)

    def to(self, device: torch.device) -> Diagnostics:
        """The same on another device."""
        if self.cosines.device == device:
            return self
        weights = None if self.weights is None else self.weights.to(device)
        pairs, lengths = (self.cosines, self.known), (self.length, self.sum_length)
        cosines, known, length, plain = (t.to(device) for t in (*pairs, *lengths))
        return Diagnostics(cosines, known, weights, length, plain, self.extra)

    def conflict_ratio(self) -> Tensor:
        """(K,) the share of known pairs with a negative cosine; 0 where no pair is known."""
        return (self.cosines < 0).sum((1, 2)) / self.known.sum((1, 2)).clamp_min(1)

    def pair_cosine(self) -> Tensor:
        """(T, T) mean cosine over the blocks in which the pair is known; 0 where it is in none."""
        return self.cosines.sum(0) / self.known.sum(0).clamp_min(1)

    def length_ratio(self) -> Tensor:
        """(K,) length over the plain sum's; 1 where both are 0, infinite where only the sum is."""
        both = (self.length == 0) & (self.sum_length == 0)
        return torch.where(both, 1.0, self.length / self.sum_length)


def cosines_of(grams: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines from Gram matrices, in float64.

    Args:
        grams: (K, P, P).

    Returns:
        (K, P, P) cosines in [−1, 1], 0 where a gradient is zero; (K, P) lengths.
    """
    grams = grams.double()
    lengths = grams.diagonal(dim1=1, dim2=2).sqrt()
    inverse = torch.where(lengths > 0, 1 / lengths, 0)
    cosines = grams * inverse.unsqueeze(1) * inverse.unsqueeze(2)
    return cosines.clamp(-1, 1), lengths


def weighted_length(grams: Tensor, weights: Tensor) -> Tensor:
    """‖Σ_i w_i g_i‖ from Gram matrices.

    Args:
        grams: (K, P, P).
        weights: (K, …, P).

    Returns:
        (K, …) float64.
    """
    weights = weights.double()
    squares = torch.einsum("k...i,kij,k...j->k...", weights, grams.double(), weights)
    return squares.clamp_min(0).sqrt()


def diagnose(
    grams: Tensor,
    tasks: Tensor,
    total: int,
    *,
    weights: Tensor | None,
    length: Tensor,
    extra: dict[str, float],
) -> Diagnostics:
    """The diagnostics of a step; 0 for gradients that are not finite, which no one checks on a GPU.

    Args:
        grams: (K, P, P) of the present tasks.
        tasks: (P,) their indices.
        total: T.
        weights: (K, P) or None.
        length: (K,) of the combined gradient.
        extra: the method's own numbers.
    """
    blocks = len(grams)
    among, lengths = cosines_of(grams)
    some = (lengths > 0) & (lengths < torch.inf)
    device = grams.device
    itself = torch.eye(len(tasks), dtype=torch.bool, device=device)
    pairs = some.unsqueeze(1) & some.unsqueeze(2) & ~itself
    cosines = torch.zeros(blocks, total, total, dtype=torch.float64, device=device)
    known = torch.zeros(blocks, total, total, dtype=torch.bool, device=device)
    at = (slice(None), tasks.unsqueeze(1), tasks)
    cosines[at] = torch.where(pairs, among, 0)
    known[at] = pairs
    spread = None
    if weights is not None:
        spread = torch.zeros(blocks, total, dtype=torch.float64, device=device)
        spread[:, tasks] = weights.double().nan_to_num(posinf=0.0, neginf=0.0)
    plain = weighted_length(grams, torch.ones(blocks, len(tasks), device=device))
    return Diagnostics(cosines, known, spread, length.double(), plain, extra)
