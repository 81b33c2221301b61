"""Outputs of a tower that predict a rate: the training rows' base rate, or a mean of members."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_LEAST_PROBABILITY = 1e-6


def log_odds(rates: Tensor) -> Tensor:
    """The logits of rates, clamped away from 0 and 1."""
    return _inside(rates).logit()


def log_rates(rates: Tensor) -> Tensor:
    """The logarithms of rates, clamped away from 0 and 1."""
    return _inside(rates).log()


def logit_of_mean(logits: Tensor) -> Tensor:
    """(k, …) logits of k members to those of their mean probability."""
    from torch.nn import functional as F

    return F.logsigmoid(logits).logsumexp(0) - F.logsigmoid(-logits).logsumexp(0)


def log_mean_exp(outputs: Tensor) -> Tensor:
    """(k, …) logarithms of k members to those of their means."""
    return outputs.logsumexp(0) - math.log(len(outputs))


def inverse_softplus(values: Tensor) -> Tensor:
    """Where softplus gives these positive values."""
    return values + (-(-values).expm1()).log()


def _inside(rates: Tensor) -> Tensor:
    return rates.clamp(_LEAST_PROBABILITY, 1.0 - _LEAST_PROBABILITY)
