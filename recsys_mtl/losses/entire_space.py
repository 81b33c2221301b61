"""Losses of tasks that are only observed behind another one, next to that of the joint label.

Shapes: B rows; k · B of k members.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from recsys_mtl.losses.pointwise import bce_with_logits


@dataclass(frozen=True)
class Through:
    """How a task behind another one is trained.

    Attributes:
        parent: the task before.
        entire_space: whether its loss is that of the joint label on all rows (ESMM); else that of
            its own label on the rows where the one before happened, or the counterfactual term
            alone, if there is one (Zhang et al. 2020, Multi-IPW and Multi-DR).
        method: of the counterfactual term, none, ips or dr (ESCM², Wang et al. 2022).
        weight: of that term.
        clip: least propensity.
    """

    parent: str
    entire_space: bool = True
    method: str = "none"
    weight: float = 1.0
    clip: float = 0.01


def counterfactual(
    given: Tensor,
    exposure: Tensor,
    parent: Tensor,
    labels: Tensor,
    weights: Tensor,
    *,
    clip: float,
    method: str,
    total: Tensor | None = None,
) -> Tensor:
    """The conditional loss over all rows, from the rows where it is observed (ESCM²).

    With o = 1 where the task before happened, its predicted probability p, clipped from below and
    held constant, and δ the cross-entropy of the conditional prediction:

        ips:  mean of o δ / p
        dr:   mean of δ' + o (δ - δ') / p, and of o (δ - δ')² / p for the tower

    δ' is the imputed loss: the cross-entropy of the same prediction with the label that the
    imputation tower predicts. The first part trains the prediction alone, the second the tower
    alone.

    Args:
        given: (k · B, 1) conditional logits, or (k · B, 2) with those of the imputed label.
        exposure: (k · B, 1) logits of the task before.
        parent: (B,) labels of the task before.
        labels: (B,) joint labels, NaN where unlabelled.
        weights: (B,) row weights.
        clip: least p.
        method: ips or dr.
        total: () weight that the sum is divided by; None: that of the labelled rows.

    Returns:
        Scalar, 0 where no row is labelled.
    """
    members = max(1, len(given) // max(1, len(labels)))
    parent, labels, weights = (t.repeat(members) for t in (parent, labels, weights))
    known = ~labels.isnan()
    observed = known & (parent == 1)
    with torch.autocast(given.device.type, enabled=False):
        given = torch.where(known.unsqueeze(1), given.float(), 0)
        log_p = F.logsigmoid(exposure.detach().float().squeeze(1)).clamp_min(math.log(clip))
        weight = torch.where(observed, (-log_p).exp(), 0)
        label = torch.where(observed, labels, 0)
        own = bce_with_logits(given[:, 0], label)
        if method == "ips":
            rows = weight * own
        else:
            imputed = given[:, 1].sigmoid()
            error = bce_with_logits(given[:, 0], imputed.detach())
            fixed = given[:, 0].detach()
            gap = bce_with_logits(fixed, label) - bce_with_logits(fixed, imputed)
            rows = error + weight * (own - error) + weight * gap.square()
        mass = torch.where(known, weights, 0)
        total = mass.sum() if total is None else total * members
        return (mass * rows).sum() / torch.where(total > 0, total, 1)
