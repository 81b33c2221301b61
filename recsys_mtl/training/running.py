"""The current epoch: its position, and the sums over its batches.

Shapes: T tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from recsys_mtl.training.state import StateOwner
from recsys_mtl.training.step import StepResult


class RunningEpoch(StateOwner):
    """Sums over the batches of an epoch.

    Args:
        tasks: names in the order of the losses.
        device: of the losses.

    Attributes:
        number: of the epoch, from 0.
        batch: batches that are done; a resumed training starts after them.
        rows: trained on.
        skipped: batches that updated nothing.
        seconds: of training.
        rate_factor: of the last step.
    """

    def __init__(self, tasks: Sequence[str], device: torch.device) -> None:
        self._tasks = tuple(tasks)
        self._sums = torch.zeros(len(tasks), dtype=torch.float64, device=device)
        self._masses = torch.zeros_like(self._sums)
        self._counts = torch.zeros(len(tasks), dtype=torch.int64, device=device)
        self.start(0)

    def start(self, number: int) -> None:
        """Begin an epoch."""
        self.number, self.batch, self.rows, self.skipped = number, 0, 0, 0
        self.seconds, self.rate_factor = 0.0, 1.0
        for tensor in self.tensors().values():
            tensor.zero_()

    def done(self, result: StepResult, *, rate_factor: float) -> None:
        """Count a batch; its numbers may follow later."""
        self.batch += 1
        self.rows += result.rows
        self.rate_factor = rate_factor

    def add(self, result: StepResult) -> None:
        """Add the numbers of a batch."""
        if not result.updated:
            self.skipped += 1
            return
        self._sums += result.losses.double() * result.masses
        self._masses += result.masses
        self._counts += result.counts

    def losses(self) -> dict[str, float]:
        """Mean loss by task, weighted by labelled mass; 0 where nothing was labelled."""
        means = self._sums / torch.where(self._masses > 0, self._masses, 1)
        return dict(zip(self._tasks, means.tolist(), strict=True))

    def labelled(self) -> dict[str, int]:
        """Labelled rows by task."""
        return dict(zip(self._tasks, self._counts.tolist(), strict=True))

    def tensors(self) -> dict[str, Tensor]:
        """(T,) sums."""
        return {"sums": self._sums, "masses": self._masses, "counts": self._counts}

    def values(self) -> dict[str, Any]:
        """Position and counts."""
        return {
            "number": self.number,
            "batch": self.batch,
            "rows": self.rows,
            "skipped": self.skipped,
            "seconds": self.seconds,
            "rate_factor": self.rate_factor,
        }

    def load(self, tensors: Mapping[str, Tensor], values: Any) -> None:
        """Take over both."""
        for name, value in values.items():
            setattr(self, name, value)
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])
