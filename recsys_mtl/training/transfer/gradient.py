"""adaTT on the shared experts' gradients: the same weights, without a pass for each task."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from recsys_mtl.data.batch import Batch
from recsys_mtl.training.transfer.transfer import Transfer


class GradientTransfer(Transfer):
    """Shared expert e learns from Σ_j c_ej g_j with c_ej = 1 + λ Σ_i w_e,ij.

    Between measurements the c are fixed, so what task j's mixture sends back into expert e is
    multiplied by c_ej on its way and one backward pass does it. Towers, gates and own experts
    learn as ever. What lies below the experts does not: through expert e the pooled embeddings,
    and so the tables, get their part of Σ_j c_ej g_j too. With logit transfer a loss also enters
    by its sources' mixtures, and what goes there is multiplied by theirs. W has no gradient here.
    """

    def before(self, batch: Batch, embedded: Sequence[Tensor], present: Tensor) -> None:
        """Measure where it is due, then set the factors of this step's backward."""
        ple = self._probe.network.ple
        ple.scale_shared_gradients(None)  # what is measured is not what was made of it
        super().before(batch, embedded, present)
        factors = self.adatt.coefficients(present)  # (E, T), E 1 or the shared experts
        if factors is not None:
            experts = len(self._probe.network.shared_expert_parameters())
            factors = factors.T.expand(-1, experts)
        ple.scale_shared_gradients(factors)
