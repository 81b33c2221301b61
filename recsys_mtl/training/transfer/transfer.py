"""Base of adaTT's mechanisms: measure when due, then act on the step.

Shapes: T tasks, B rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from recsys_mtl.adatt import AdaTT
from recsys_mtl.data.batch import Batch
from recsys_mtl.losses import Balancer
from recsys_mtl.model import Outputs
from recsys_mtl.training.transfer.probe import Probe


@dataclass(frozen=True)
class StepView:
    """A step after the forward pass, for a mechanism.

    Attributes:
        batch: the rows.
        outputs: of the network.
        losses: (T,) before weighting.
        present: (T,) bool.
        balancer: weighs the losses.
        totals: of `TaskLosses.totals` with several processes.
    """

    batch: Batch
    outputs: Outputs
    losses: Tensor
    present: Tensor
    balancer: Balancer
    totals: Tensor | None = None


class Transfer(nn.Module):
    """Measures; a subclass acts. All state is in buffers and parameters.

    The parameters belong in the dense optimizer, without weight decay. In the step::

        transfer.before(batch, embedded, present)   # before the forward pass
        losses = losses + transfer.task_terms(view) # if not None, after weighting
        total = losses.sum() + transfer.term(view)  # likewise

    Args:
        adatt: measures and selects.
        probe: observes the step for it.
        freeze_gates: whether the gates freeze with the weights.
    """

    def __init__(self, adatt: AdaTT, probe: Probe, *, freeze_gates: bool = False) -> None:
        super().__init__()
        self.adatt = adatt
        self._probe = probe
        self._freeze_gates = freeze_gates

    @property
    def measures(self) -> bool:
        """Whether a measurement is useful now."""
        return True

    def start_epoch(self, epoch: int) -> None:
        """Sets the phase."""
        self.adatt.start_epoch(epoch)
        if self._freeze_gates:
            for parameter in self._probe.network.ple.gate_parameters():
                parameter.requires_grad_(not self.adatt.frozen)

    def before(self, batch: Batch, embedded: Sequence[Tensor], present: Tensor) -> None:
        """Measure when due.

        Args:
            batch: the step's rows.
            embedded: their embeddings, off the graph.
            present: (T,) bool, the tasks with labelled rows.
        """
        del present
        if self.adatt.due() and self.measures:
            self.adatt.observe(self._probe.observation(batch, embedded))

    def task_terms(self, view: StepView) -> Tensor | None:
        """(T,) terms added to each task's weighted loss; None: nothing."""
        del view
        return None

    def term(self, view: StepView) -> Tensor | None:
        """Term added to the total in addition to the tasks' losses; None: nothing."""
        del view
        return None

    def diagnostics(self) -> dict[str, Any]:
        """Plain numbers at the end of an epoch; see `AdaTT.diagnostics`."""
        return self.adatt.diagnostics()
