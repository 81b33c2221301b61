"""adaTT on the shared experts' gradients: the same weights, without a pass for each task."""

from __future__ import annotations

from torch import Tensor

from recsys_mtl.data.batch import Batch
from recsys_mtl.training.transfer.transfer import Transfer


class GradientTransfer(Transfer):
    """Shared expert e learns from Σ_j c_ej g_j with c_ej = 1 + λ Σ_i w_e,ij.

    Between measurements the c are fixed, so what task j sends back into expert e is multiplied by
    c_ej on its way and one backward pass does it. Towers, gates, own experts and tables learn as
    ever. W has no gradient here.
    """

    def before(self, batch: Batch, pooled: Tensor, present: Tensor) -> None:
        """Measure where it is due, then set the factors of this step's backward."""
        super().before(batch, pooled, present)
        ple = self._probe.network.ple
        factors = self.adatt.coefficients(present)  # (E, T), E 1 or the shared experts
        if factors is not None:
            experts = len(self._probe.network.shared_expert_parameters())
            factors = factors.T.expand(-1, experts)
        ple.scale_shared_gradients(factors)
