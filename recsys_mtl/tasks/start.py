"""Outputs of a tower that predict the base rates of the training rows, in float32."""

from __future__ import annotations

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


def _inside(rates: Tensor) -> Tensor:
    return rates.clamp(_LEAST_PROBABILITY, 1.0 - _LEAST_PROBABILITY)
