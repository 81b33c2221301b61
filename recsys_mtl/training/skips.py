"""Skipped batches, and the error when there are too many of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from recsys_mtl.errors import UserError, wrong
from recsys_mtl.training.state import StateOwner
from recsys_mtl.training.step import StepResult

log = logging.getLogger(__name__)


class Skips(StateOwner):
    """Counts skipped batches and ends the run after too many in a row.

    Args:
        limit: consecutive skipped batches that end the run.
        tasks: names in the order of the losses.
    """

    def __init__(self, limit: int, tasks: tuple[str, ...]) -> None:
        self.total = 0
        self._consecutive = 0
        self._limit = limit
        self._tasks = tasks

    def update(self, result: StepResult) -> None:
        """Count one step.

        Raises:
            UserError: `limit` batches in a row were skipped; names the tasks at fault.
        """
        if result.updated:
            self._consecutive = 0
            return
        self.total += 1
        self._consecutive += 1
        names = [self._tasks[i] for i in result.bad_tasks]
        blamed = f"the loss of {', '.join(names)}" if names else "the gradient"
        reason = result.problem or f"{blamed} is not finite"
        if self._consecutive == 1:
            log.warning("batch skipped: %s", reason)
        if self._consecutive >= self._limit:
            raise diverged(f"{reason}, {self._consecutive} batches in a row")

    def values(self) -> dict[str, int]:
        """Both counts."""
        return {"total": self.total, "in_a_row": self._consecutive}

    def load(self, tensors: Mapping[str, Tensor], values: Any) -> None:
        """Take over both."""
        self.total, self._consecutive = values["total"], values["in_a_row"]


def diverged(reason: str) -> UserError:
    """The error of a training that cannot be used."""
    return wrong(
        f"training diverged: {reason}",
        where="training",
        fix="lower training.optimizer.learning_rate, use fp32 or bf16, or check the labels"
        " and numeric features for extreme values; where a checkpoint is kept, start a changed"
        " config with --resume never",
    )
