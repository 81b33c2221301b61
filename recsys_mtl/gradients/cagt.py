"""CAGT: cross-attention gradient transplantation, in Gram form.

Per block, a task whose gradient disagrees with the others' is moved towards an attention-weighted
mixture of them. Everything follows from the Gram matrices, so the gradients are read twice
(once for the Gram matrices, once for the sum), and once more where tasks are absent, to copy the
rows of those that are present: no T × T × d intermediate.

Shapes: P present tasks, K blocks.
"""

from __future__ import annotations

import logging
from typing import Literal, get_args

import torch
from torch import Tensor

from recsys_mtl.gradients.combiner import GramCombiner
from recsys_mtl.gradients.diagnostics import cosines_of, weighted_length
from recsys_mtl.gradients.partition import Partition

logger = logging.getLogger(__name__)

Attention = Literal["cosine", "cosine_squared", "euclidean"]

EARLY, LATE, FADE = 500, 2000, 10_000
"""Steps of the adaptive λ: where the raise ends, where the fade starts, and how long it takes."""


class CAGT(GramCombiner):
    """Cross-Attention Gradient Transplantation (algorithms 1 to 3 of its paper).

    With c_ij the cosines in a block and s_i their mean over j ≠ i, task i conflicts where s_i < δ.
    Then g_i becomes (1 − λ) g_i + λ ‖g_i‖ g̃_i / (‖g̃_i‖ + ε), with g̃_i = Σ_j α_ij g_j on the raw
    gradients and α_i = softmax_j≠i(S_ij / τ). The result is the sum over tasks.

    Claims of the paper that do not hold: lengths are not preserved (Lemma D.4; the moved gradient
    is shorter, unless `preserve_norm`), and for λ > ½ the result may not descend (Theorem D.2; for
    two tasks it does for λ ≤ ½). A zero gradient has a cosine of 0 to all others.

    Lengths come from Gram matrices: where a mixture nearly cancels, in float32 below some 3e-4 of
    what it is mixed of, its length is rounding, and so is what it is rescaled to.

    Args:
        tasks: T.
        partition: the blocks.
        temperature: τ.
        coefficient: the base λ.
        threshold: δ.
        attention: S is c, c |c|, or −‖ĝ_i − ĝ_j‖ of gradients made length 1.
        adaptive: whether λ follows the step and the share of conflicts (algorithm 3).
        preserve_norm: whether each moved gradient gets its old length back.
        active_steps: after so many steps the plain sum; None: never.
        eps: ε, in the unit of the gradients' lengths.

    Raises:
        ValueError: an option outside its range.
    """

    def __init__(
        self,
        tasks: int,
        partition: Partition,
        *,
        temperature: float = 0.6,
        coefficient: float = 0.2,
        threshold: float = 0.0,
        attention: Attention = "cosine_squared",
        adaptive: bool = True,
        preserve_norm: bool = False,
        active_steps: int | None = None,
        eps: float = 1e-12,
    ) -> None:
        super().__init__(tasks, partition)
        for name, value, allowed, fits in (
            ("temperature", temperature, "above 0", temperature > 0),
            ("coefficient", coefficient, "from 0 to 1", 0 <= coefficient <= 1),
            ("threshold", threshold, "from -1 to 1", -1 <= threshold <= 1),
            ("active_steps", active_steps, "0 or more", active_steps is None or active_steps >= 0),
            ("eps", eps, "above 0", eps > 0),
            ("attention", attention, " | ".join(get_args(Attention)), attention in _SCORES),
        ):
            if not fits:
                raise ValueError(f"{name}: expected {allowed}, found {value}")
        self.temperature = temperature
        self.coefficient = coefficient
        self.threshold = threshold
        self.attention: Attention = attention
        self.adaptive = adaptive
        self.preserve_norm = preserve_norm
        self.active_steps = active_steps
        self.eps = eps
        most = min(1.0, 1.5 * coefficient) if adaptive else coefficient
        if most > 0.5:
            logger.warning(
                "CAGT: λ may become %.2f; above 0.5 the step need not be a descent direction", most
            )

    def weights(self, grams: Tensor, *, tasks: Tensor, step: int) -> Tensor:
        """(K, P) float64."""
        return self.mixture(grams, step=step).sum(1)

    def weights_on_device(self, grams: Tensor, present: Tensor, *, step: int) -> Tensor:
        """See `GramCombiner`: as `weights`, with masks instead of the present tasks alone."""
        every = present.double().expand(len(grams), -1)
        if not self._active(step):
            return every
        count = present.sum()
        itself = torch.eye(grams.shape[1], dtype=torch.bool, device=grams.device)
        cosines, lengths = cosines_of(grams)
        others = cosines.sum(2) - cosines.diagonal(dim1=1, dim2=2)
        conflicting = (others / (count - 1).clamp_min(1) < self.threshold) & present & (count > 1)
        ratio = conflicting.double().sum() / (len(grams) * count.clamp_min(1))
        rate = torch.full_like(ratio, self.rate(step, 0.0))
        if self.adaptive and step >= LATE:  # `rate` of this ratio
            rate = (rate * (1 + 0.5 * ratio)).clamp_max(1)
        scores = _SCORES[self.attention](cosines, (lengths > 0).to(cosines))
        share = torch.softmax(
            scores.masked_fill(itself | ~present, -torch.inf) / self.temperature, 2
        )
        grown = lengths / (weighted_length(grams, share) + self.eps)
        moved = (1 - rate) * itself + rate * grown.unsqueeze(2) * share
        if self.preserve_norm:
            moved = moved * (lengths / (weighted_length(grams, moved) + self.eps)).unsqueeze(2)
        return torch.where(conflicting.unsqueeze(2), moved, itself.to(moved)).sum(1) * every

    def mixture(self, grams: Tensor, *, step: int) -> Tensor:
        """What each task's new gradient consists of.

        Args:
            grams: (K, P, P).
            step: of the training.

        Returns:
            (K, P, P) float64; row i holds what each gradient counts for in task i's new one.
        """
        count = grams.shape[1]
        itself = torch.eye(count, dtype=torch.float64)
        if count < 2 or not self._active(step):
            return itself.expand(len(grams), count, count)
        cosines, lengths = cosines_of(grams)
        conflicting = conflicts(cosines, self.threshold)
        rate = self.rate(step, float(conflicting.double().mean()))
        share = attention_weights(cosines, lengths, self.attention, self.temperature)
        grown = lengths / (weighted_length(grams, share) + self.eps)
        moved = (1 - rate) * itself + rate * grown.unsqueeze(2) * share
        if self.preserve_norm:
            moved = moved * (lengths / (weighted_length(grams, moved) + self.eps)).unsqueeze(2)
        return torch.where(conflicting.unsqueeze(2), moved, itself)

    def notes(self, grams: Tensor, *, step: int) -> dict[str, float]:
        """λ, and the share of conflicting (task, block)."""
        if grams.shape[1] < 2:
            return {"lambda": 0.0, "conflicting": 0.0}
        ratio = float(conflicts(cosines_of(grams)[0], self.threshold).double().mean())
        rate = self.rate(step, ratio) if self._active(step) else 0.0
        return {"lambda": rate, "conflicting": ratio}

    def rate(self, step: int, conflicting: float) -> float:
        """λ of a step (algorithm 3), at most 1.

        Args:
            step: t.
            conflicting: r, the share of conflicting (task, block).
        """
        base = self.coefficient
        if not self.adaptive:
            return base
        if step < EARLY:
            return min(1.5 * base, 0.5)
        if step < LATE:
            return base
        return min(1.0, base * (1 + 0.5 * conflicting) * max(0.5, 1 - (step - LATE) / FADE))

    def _active(self, step: int) -> bool:
        return self.active_steps is None or step < self.active_steps


def conflicts(cosines: Tensor, threshold: float) -> Tensor:
    """(K, P) bool: a task's mean cosine to the others of (K, P, P), P ≥ 2, is below δ."""
    others = cosines.sum(2) - cosines.diagonal(dim1=1, dim2=2)
    return others / (cosines.shape[1] - 1) < threshold


def attention_weights(
    cosines: Tensor, lengths: Tensor, attention: Attention, temperature: float
) -> Tensor:
    """α of (K, P, P): each row sums to 1, with 0 on the diagonal (algorithm 2)."""
    scores = _SCORES[attention](cosines, (lengths > 0).to(cosines))
    itself = torch.eye(cosines.shape[1], dtype=torch.bool)
    return torch.softmax(scores.masked_fill(itself, -torch.inf) / temperature, 2)


def _euclidean(cosines: Tensor, units: Tensor) -> Tensor:
    """−‖ĝ_i − ĝ_j‖, with (K, P) lengths of ĝ: 1, or 0 of a zero gradient."""
    squares = units.unsqueeze(1) + units.unsqueeze(2) - 2 * cosines
    return -squares.clamp_min(0).sqrt()


_SCORES = {
    "cosine": lambda cosines, units: cosines,
    "cosine_squared": lambda cosines, units: cosines * cosines.abs(),
    "euclidean": _euclidean,
}
