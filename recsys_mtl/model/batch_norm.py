"""Batch normalisation of G groups.

Shapes: G groups, B rows, O outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_EPS = 1e-5
_MOMENTUM = 0.1


class GroupedBatchNorm(nn.Module):
    """Batch normalisation (Ioffe & Szegedy 2015) over the rows, affine per group.

    While training by the mean and variance of the batch, else by their moving averages, which start
    with the first batch's. A single row or a batch that is not finite leaves the averages alone.

    Attributes:
        weight: (G, O), initially ones.
        bias: (G, O), initially zeros.
        running_mean: (G, O).
        running_var: (G, O).
        batches: () batches in these averages.
    """

    running_mean: Tensor
    running_var: Tensor
    batches: Tensor

    def __init__(self, groups: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(groups, features))
        self.bias = nn.Parameter(torch.zeros(groups, features))
        self.register_buffer("running_mean", torch.zeros(groups, features))
        self.register_buffer("running_var", torch.ones(groups, features))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(G, B, O) to (G, B, O), in the input's precision."""
        values = x.float()
        mean, variance = self.running_mean, self.running_var
        if self.training and self.weight.requires_grad:  # else it is frozen
            variance, mean = torch.var_mean(values, 1, correction=0)
            if x.shape[1] > 1:
                self._follow(mean.detach(), variance.detach())
        scale = self.weight * torch.rsqrt(variance + _EPS)
        shift = self.bias - mean * scale
        return torch.addcmul(shift.unsqueeze(1), values, scale.unsqueeze(1)).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Take a batch into the averages."""
        finite = mean.isfinite().all() & variance.isfinite().all()
        self.batches += finite
        share = torch.clamp(1 / self.batches.clamp_min(1), min=_MOMENTUM) * finite
        for average, value in ((self.running_mean, mean), (self.running_var, variance)):
            average += share * (value.nan_to_num() - average)
