"""ConFIG in Gram form.

Shapes: P present tasks, K blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recsys_mtl.gradients.combiner import GramCombiner
from recsys_mtl.gradients.diagnostics import cosines_of


class ConFIG(GramCombiner):
    """ConFIG (Liu et al. 2024, arXiv:2408.11104, equation 2): the same cosine to every task.

    The direction is d = Û⁺ 1 of the unit gradients Û, as long as the sum of the gradients'
    projections on it. torchjd has it on gradients; with Û⁺ = Ûᵀ (Û Ûᵀ)⁺ the weights of the unit
    gradients are C⁺ 1 with C their cosines, so Gram matrices are enough.

    C's eigenvalues below its rounding error count as 0: gradients that differ by less are one.
    Two exactly opposite gradients give zero. Zero gradients are left out.
    """

    def weights(self, grams: Tensor, *, tasks: Tensor, step: int) -> Tensor:
        """(K, P) float64."""
        cosines, lengths = cosines_of(grams)
        tolerance = grams.shape[1] * torch.finfo(grams.dtype).eps
        units = torch.linalg.pinv(cosines, rtol=tolerance, hermitian=True).sum(2)
        along = (cosines @ units.unsqueeze(2)).squeeze(2)  # of d, on each unit gradient
        square = (units * along).sum(1)
        length = (lengths * along).sum(1)
        scale = torch.where(square > tolerance, length / square, 0).unsqueeze(1)
        return torch.where(lengths > 0, scale * units / lengths, 0)
