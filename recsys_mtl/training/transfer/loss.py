"""Published adaTT: every task's loss gets a share of its peers' losses."""

from __future__ import annotations

from torch import Tensor

from recsys_mtl.training.transfer.transfer import StepView, Transfer


class LossTransfer(Transfer):
    """Adds Σ_i min(λ Σ_j w_ij L_j, max_ratio L_i), with weighted losses."""

    def task_terms(self, view: StepView) -> Tensor | None:
        """(T,) the transferred losses; None in the warm-up."""
        weighted = view.balancer.weighted(view.losses, view.present)
        return self.adatt.transferred(weighted, view.present)
