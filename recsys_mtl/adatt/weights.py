"""Select: affinity, learned weights and prior to transfer weights.

Shapes: T tasks, ... any leading dimensions (E experts). Entry (i, j) is what task i receives of j.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

Masking = Literal["exclude", "zero_logit"]


@dataclass(frozen=True)
class Selection:
    """How peers are chosen.

    Attributes:
        threshold: an affinity below it blocks (τ_neg); the noise around 0 has to pass.
        temperature: of the softmax over a task's peers.
        masking: `exclude` gives blocked peers and the task itself a weight of exactly 0.
            `zero_logit` is published adaTT: their logits are set to 0, so they
            still receive weight, and a blocked peer more than it would unblocked.

    Raises:
        ValueError: a temperature that is not positive, or an unknown masking.
    """

    threshold: float = -0.1
    temperature: float = 1.0
    masking: Masking = "exclude"

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature: expected more than 0, found {self.temperature}")
        if self.masking not in get_args(Masking):
            names = ", ".join(get_args(Masking))
            raise ValueError(f"masking: expected one of {names}; found {self.masking}")


def blocked_peers(affinity: Tensor, threshold: float) -> Tensor:
    """(..., T, T) bool: other tasks whose affinity lies below the threshold."""
    return (affinity < threshold) & ~_diagonal(affinity)


def transfer_weights(
    affinity: Tensor,
    w: Tensor,
    prior: Tensor,
    *,
    blend: float | Tensor,
    selection: Selection,
    present: Tensor | None = None,
) -> Tensor:
    """`w_i = softmax over j of R_ij / temperature`, `R = (W + A)(1 − r) + P r`, then presence.

    Args:
        affinity: (..., T, T) A.
        w: (T, T) or (..., T, T) W; gradients flow into it.
        prior: (T, T) or (..., T, T) P.
        blend: r, the prior's share.
        selection: blocking, temperature and masking.
        present: (T,) bool, see `only_present`; None: all are.

    Returns:
        (..., T, T) weights, not negative. Under `exclude` a row sums to 1 over its allowed peers
        before presence, or is 0 where there are none.
    """
    logits = ((w + affinity) * (1 - blend) + prior * blend) / selection.temperature
    allowed = ~blocked_peers(affinity, selection.threshold) & ~_diagonal(affinity)
    if selection.masking == "zero_logit":
        weights = torch.softmax(torch.where(allowed, logits, torch.zeros_like(logits)), -1)
    else:
        weights = _softmax_over(logits, allowed)
    return weights if present is None else only_present(weights, present)


def only_present(weights: Tensor, present: Tensor) -> Tensor:
    """(..., T, T) weights without the rows and columns of absent tasks (T,).

    A missing task neither receives nor gives; what it would have given is not passed to others.
    """
    return weights * (present.unsqueeze(-1) & present).to(weights.dtype)


def _softmax_over(logits: Tensor, allowed: Tensor) -> Tensor:
    """Softmax over the allowed entries; 0 elsewhere, and 0, not NaN, in rows without any."""
    masked = logits.masked_fill(~allowed, -torch.inf)
    masked = torch.where(allowed.any(-1, keepdim=True), masked, torch.zeros_like(masked))
    weights = torch.softmax(masked, -1)
    return torch.where(allowed, weights, torch.zeros_like(weights))


def _diagonal(affinity: Tensor) -> Tensor:
    """(T, T) bool: the pairs of a task with itself."""
    return torch.eye(affinity.shape[-1], dtype=torch.bool, device=affinity.device)
