"""The published measure: cosine of the tasks' gradients on the shared experts.

Shapes: T tasks, E experts, d_e entries of expert e.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from recsys_mtl.adatt.measures.ema import Ema
from recsys_mtl.adatt.measures.measure import Measure, Shapes, exact
from recsys_mtl.adatt.measures.observation import Observation, required

Scope = Literal["all", "expert"]
_TINY = 1e-8


def gradient_cosines(gradients: Sequence[Tensor], scope: Scope) -> Tensor:
    """`C = Ĝ Ĝᵀ`, rows of Ĝ of length 1, lengths clamped at 1e-8.

    Computed as G Gᵀ divided by the lengths, which spares a copy of G.

    Args:
        gradients: one (T, d_e) a block.
        scope: `all` takes the blocks as one long gradient, `expert` each on its own.

    Returns:
        (1, T, T) or (E, T, T); NaN for a gradient whose square leaves float32.
    """
    products = torch.stack([g.float() @ g.float().T for g in gradients])
    if scope == "all":
        products = products.sum(0, keepdim=True)
    lengths = products.diagonal(dim1=-2, dim2=-1).sqrt()
    lengths = torch.where(lengths.isinf(), torch.nan, lengths.clamp_min(_TINY))
    return products / lengths.unsqueeze(-1) / lengths.unsqueeze(-2)


class GradientCosine(Measure):
    """`A_t = α A_{t−1} + (1 − α) C_t` (adaTT's TaskAffinityComputer).

    The row and column of a task without labelled rows do not change. A present task with a zero
    gradient has a cosine of 0 to all others, as published.

    This is a weak detector of related tasks: it sits near 0 even for opposite tasks, as towers
    can flip the signs, and without `debias` it hardly forgets its first sample.

    Args:
        shapes: tasks, and experts for scope `expert`.
        decay: α.
        debias: see `Ema`.
        scope: one matrix over all shared experts, or one for each.

    Raises:
        ValueError: an unknown scope.
    """

    def __init__(
        self, shapes: Shapes, *, decay: float = 0.9, debias: bool = False, scope: Scope = "all"
    ) -> None:
        if scope not in get_args(Scope):
            raise ValueError(f"scope: expected one of {', '.join(get_args(Scope))}; found {scope}")
        experts = shapes.experts if scope == "expert" else 1
        super().__init__(shapes.tasks, experts)
        self.scope: Scope = scope
        size = (experts, shapes.tasks, shapes.tasks)
        self.average = Ema(size, size, decay=decay, debias=debias)

    def pair_counts(self) -> Tensor:
        """(E, T, T) int64."""
        return self.average.counts

    def observe(self, observation: Observation) -> bool:
        """Takes the gradients; see `Measure.observe`."""
        gradients = required(observation.gradients, "gradients", "gradient_cosine")
        experts = len(self.average.mean)
        if self.scope == "expert" and len(gradients) != experts:
            raise ValueError(
                f"gradients: expected {experts} blocks, one an expert; found {len(gradients)}"
            )
        with exact(self.average.mean):
            cosines = gradient_cosines(gradients, self.scope)
            if not self._accept(cosines):
                return False
            present = observation.present
            observed = (present & present.unsqueeze(1)).expand_as(cosines)
            self.average.update(cosines, observed)
            self._show(self.average.value())
        return True
