"""The history of the epochs: losses, metrics and gates, never predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from recsys_mtl.metrics import Metrics, from_values
from recsys_mtl.model import GateUse
from recsys_mtl.training.state import StateOwner


@dataclass(frozen=True)
class Validation:
    """The numbers of an evaluation on the validation rows.

    Attributes:
        score: value of early stopping; None: undefined.
        losses: mean loss by task; None where no row is labelled.
        metrics: by task.
        gates: use of the experts by task; empty where nothing is gated.
    """

    score: float | None = None
    losses: dict[str, float | None] = field(default_factory=dict)
    metrics: dict[str, Metrics] = field(default_factory=dict)
    gates: dict[str, GateUse] = field(default_factory=dict)


@dataclass(frozen=True)
class Epoch:
    """One epoch's outcome.

    Attributes:
        number: from 0.
        train_losses: mean over the batches by task, weighted by labelled mass.
        labelled: labelled rows by task.
        seconds: of training, without the validation.
        rows: trained on.
        skipped: batches that updated nothing.
        learning_rate_factor: of the last step.
        loss_weights: weight of each task's loss at its end.
        transfer: `AdaTT.diagnostics` at its end; None: adaTT is off.
        conflicts: `Combining.diagnostics` of it; None: no step's gradients were combined.
        validation: after it.
    """

    number: int
    train_losses: dict[str, float]
    labelled: dict[str, int]
    seconds: float
    rows: int
    skipped: int
    learning_rate_factor: float
    loss_weights: dict[str, float] = field(default_factory=dict)
    transfer: dict[str, Any] | None = None
    conflicts: dict[str, Any] | None = None
    validation: Validation = field(default_factory=Validation)

    @property
    def score(self) -> float | None:
        """The watched validation value; None: undefined."""
        return self.validation.score

    @property
    def rows_per_second(self) -> float:
        """Training throughput of this epoch, validation excluded."""
        return self.rows / max(self.seconds, 1e-9)


class History(StateOwner):
    """The epochs so far."""

    def __init__(self) -> None:
        self._epochs: list[Epoch] = []

    @property
    def epochs(self) -> tuple[Epoch, ...]:
        """In their order."""
        return tuple(self._epochs)

    def add(self, epoch: Epoch) -> None:
        """Keep a finished epoch."""
        self._epochs.append(epoch)

    def values(self) -> list[dict[str, Any]]:
        """Every epoch as JSON."""
        return [asdict(epoch) for epoch in self._epochs]

    def load(self, tensors: Mapping[str, Tensor], values: Any) -> None:
        """Take the epochs of `values`."""
        self._epochs = [Epoch(**{**v, "validation": _validation(v["validation"])}) for v in values]


def _validation(values: Mapping[str, Any]) -> Validation:
    metrics = {task: from_values(of) for task, of in values["metrics"].items()}
    gates = {
        task: GateUse(use["mean"], use["entropy"], tuple(use["dead"]))
        for task, use in values["gates"].items()
    }
    return Validation(values["score"], values["losses"], metrics, gates)
