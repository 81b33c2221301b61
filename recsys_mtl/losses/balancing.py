"""The methods that weigh task losses, by name; those of torchjd are in `from_torchjd`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recsys_mtl.errors import did_you_mean, wrong
from recsys_mtl.losses.balancer import Balancer, zero
from recsys_mtl.losses.from_torchjd import Dwa, Famo, ImtlL, Stch

LOG_VARIANCE_LIMIT = 4.0
"""Uncertainty weights stay within e^±4."""


class Fixed(Balancer):
    """The fixed weights alone: Σ w L."""

    def combine(self, losses: Tensor, present: Tensor) -> Tensor:
        """Σ w L over the present tasks."""
        return torch.where(present, self.task_weights * losses, zero(losses.device)).sum()


class Uncertainty(Balancer):
    """Uncertainty weighting (Kendall et al. 2018, equation 10): Σ w (e^-s L + s), s learned.

    s is projected back onto ±`LOG_VARIANCE_LIMIT` before it is used; clamping it inside the formula
    would leave it without a gradient forever once it is outside.
    """

    def __init__(self, task_weights: Tensor) -> None:
        super().__init__(task_weights)
        self.log_variance = nn.Parameter(torch.zeros_like(self.task_weights))

    def combine(self, losses: Tensor, present: Tensor) -> Tensor:
        """Σ w (e^-s L + s) over the present tasks."""
        s = self.log_variance
        return torch.where(present, self.task_weights * (torch.exp(-s) * losses + s), 0).sum()

    def observe(self, losses: Tensor, present: Tensor) -> None:
        """Projects s as well."""
        super().observe(losses, present)
        with torch.no_grad():
            self.log_variance.clamp_(-LOG_VARIANCE_LIMIT, LOG_VARIANCE_LIMIT)


BALANCERS: dict[str, type[Balancer]] = {
    "fixed": Fixed,
    "uncertainty": Uncertainty,
    "dwa": Dwa,
    "famo": Famo,
    "imtl_l": ImtlL,
    "stch": Stch,
}


def make_balancer(name: str, task_weights: Tensor, **options: float) -> Balancer:
    """The balancer of that name.

    Args:
        name: a key of `BALANCERS`.
        task_weights: (T,) fixed weights, positive.
        options: of the method.

    Raises:
        UserError: no balancer has that name.

    Example:
        >>> import torch
        >>> from recsys_mtl.losses import make_balancer
        >>> balancer = make_balancer("fixed", torch.tensor([1.0, 2.0]))
        >>> balancer.total(torch.tensor([0.5, 0.25]), torch.tensor([True, True]))
        tensor(1.)
    """
    if name not in BALANCERS:
        raise wrong(
            "unknown balancing",
            where="balancing.name",
            expected=" | ".join(BALANCERS),
            found=name,
            fix=did_you_mean(name, BALANCERS),
        )
    return BALANCERS[name](task_weights, **options)
