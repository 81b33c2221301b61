"""An exponential moving average whose entries may be observed at different times."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Ema(nn.Module):
    """`m_t = α m_{t−1} + (1 − α) x_t` for each entry that is observed.

    Args:
        shape: of the average.
        counts: shape of the observation counts, which broadcasts to `shape`.
        decay: α.
        debias: False starts from the first observation, which keeps a weight of α^k after k more
            (published adaTT). True starts from 0 and divides by 1 − α^n (Kingma & Ba, ICLR 2015,
            section 3): the first observation weighs no more than another.

    Raises:
        ValueError: α outside [0, 1).
    """

    mean: Tensor
    counts: Tensor

    def __init__(
        self, shape: tuple[int, ...], counts: tuple[int, ...], *, decay: float, debias: bool
    ) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay: expected at least 0 and below 1, found {decay}")
        self.decay = decay
        self.debias = debias
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("counts", torch.zeros(counts, dtype=torch.int64))

    def update(self, value: Tensor, observed: Tensor) -> None:
        """Adds `value` (shape) where `observed` (counts, bool) is true."""
        new = self.decay * self.mean + (1 - self.decay) * value
        if not self.debias:
            new = torch.where(self.counts == 0, value, new)
        self.mean.copy_(torch.where(observed, new, self.mean))
        self.counts.add_(observed.to(torch.int64))

    def value(self) -> Tensor:
        """The average, shape; 0 where nothing was observed."""
        if not self.debias:
            return self.mean.clone()
        weight = 1 - self.decay ** self.counts.to(self.mean.dtype)
        return self.mean / torch.where(self.counts > 0, weight, torch.ones_like(weight))
