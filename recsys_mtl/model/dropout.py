"""Dropout with one random byte per element of its mask on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor

_LEVELS = 256


def dropout(x: Tensor, p: float, *, training: bool) -> Tensor:
    """Zeroes elements with probability `p` and scales the rest to keep the mean.

    `torch.nn.functional.dropout` draws its CPU mask one float at a time on one thread: about a
    quarter of a training step here. This one compares random bytes from torch's global generator,
    so on a CPU `p` is rounded to 1/256 (never to 0); the scale is that of the rounded value.

    Args:
        x: floating point, any shape.
        p: probability of a zero, 0 ≤ p < 1.
        training: False returns `x` unchanged.
    """
    if not training or p == 0.0:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        kept, _ = torch.native_dropout(x, p, True)  # one kernel each way
        return kept
    dropped = dropped_of_256(p)
    mask = _random_bytes(x.numel()).view(x.shape).to(x.dtype)
    return x * mask.ge_(dropped).mul_(_LEVELS / (_LEVELS - dropped))


def dropped_of_256(p: float) -> int:
    """Of 256 random bytes, how many drop an element: none for `p` = 0 alone."""
    return min(max(round(p * _LEVELS), 1), _LEVELS - 1) if p > 0.0 else 0


def _random_bytes(count: int) -> Tensor:
    """(count,) uint8, uniform over all 256 values; full 64-bit words are drawn."""
    words = torch.empty((count + 7) // 8, dtype=torch.int64)
    return words.random_(-(2**63), None).view(torch.uint8)[:count]
