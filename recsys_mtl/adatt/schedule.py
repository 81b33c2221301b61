"""When adaTT measures, transfers and freezes; the clock of these phases."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn


class Phase(Enum):
    """Regulate, by epoch.

    WARMUP measures and transfers nothing. DYNAMIC measures and transfers, W learns, the prior's
    share falls. FROZEN measures nothing and transfers by the weights of its first moment.
    """

    WARMUP = "warmup"
    DYNAMIC = "dynamic"
    FROZEN = "frozen"


@dataclass(frozen=True)
class Schedule:
    """Epochs count from 0: WARMUP before `warmup_epochs`, FROZEN from `freeze_epoch` on.

    Attributes:
        warmup_epochs: length of the warm-up; 0 transfers from the first step, on no measurement.
        freeze_epoch: first frozen epoch.

    Raises:
        ValueError: a negative warm-up, or no dynamic epoch between the two.
    """

    warmup_epochs: int
    freeze_epoch: int

    def __post_init__(self) -> None:
        if self.warmup_epochs < 0:
            raise ValueError(f"warmup_epochs: expected 0 or more, found {self.warmup_epochs}")
        if self.freeze_epoch <= self.warmup_epochs:
            raise ValueError(
                f"freeze_epoch: expected more than warmup_epochs ({self.warmup_epochs}), "
                f"found {self.freeze_epoch}"
            )

    def phase(self, epoch: int) -> Phase:
        """The phase of an epoch."""
        if epoch < self.warmup_epochs:
            return Phase.WARMUP
        return Phase.DYNAMIC if epoch < self.freeze_epoch else Phase.FROZEN


class Clock(nn.Module):
    """Epoch and steps as buffers, which a checkpoint holds.

    Their values are also kept as integers: reading a buffer of an accelerator at
    every step would wait for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now = {"epoch": 0, "steps": 0, "frozen_since": -1}
        for name, value in self._now.items():
            self.register_buffer(name, torch.tensor(value))
        self.register_load_state_dict_post_hook(_read_back)  # type: ignore[no-untyped-call]

    def get(self, name: str) -> int:
        """epoch, steps, or frozen_since (−1: not frozen)."""
        return self._now[name]

    def set(self, name: str, value: int) -> None:
        """Sets one of them."""
        self._now[name] = value
        self.get_buffer(name).fill_(value)


def _read_back(clock: nn.Module, _: Any) -> None:
    """After `load_state_dict`: the integers follow the buffers."""
    assert isinstance(clock, Clock)
    for name in clock._now:
        buffer: Tensor = clock.get_buffer(name)
        clock._now[name] = int(buffer.item())
