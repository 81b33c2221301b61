"""adaTT on the shared experts' gradients: the same weights, without a pass for each task."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from recsys_mtl.data.batch import Batch
from recsys_mtl.model import PLE
from recsys_mtl.training.transfer.transfer import Transfer


class GradientTransfer(Transfer):
    """Shared expert e learns from Σ_j c_ej g_j with c_ej = 1 + λ Σ_i w_e,ij.

    Between measurements the c are fixed, so one backward pass is enough: the gradient of task j's
    mixture with respect to expert e is multiplied by c_ej. Towers, gates and own experts learn as
    without adaTT. The pooled embeddings and the tables get their part of Σ_j c_ej g_j through
    expert e. With logit transfer a loss also depends on its sources' mixtures; those gradients are
    multiplied by the sources' factors. W has no gradient here.
    """

    def before(self, batch: Batch, embedded: Sequence[Tensor], present: Tensor) -> None:
        """Measure when due, then set the factors of this step's backward."""
        ple = self._probe.network.ple
        assert isinstance(ple, PLE)
        ple.scale_shared_gradients(None)  # the measure takes unscaled gradients
        super().before(batch, embedded, present)
        factors = self.adatt.coefficients(present)  # (E, T), E 1 or the shared experts
        if factors is not None:
            experts = len(self._probe.network.shared_expert_parameters())
            factors = factors.T.expand(-1, experts)
        ple.scale_shared_gradients(factors)
