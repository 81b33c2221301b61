"""Borrowing: a task with few labels learns its relatives' labels too, on its own experts.

Shapes: T tasks, B rows, O own experts a task, D width, K = Σ C_j output columns of all tasks.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from recsys_mtl.adatt import (
    AdaTT,
    Phase,
    donors,
    effective_labels,
    labelled_rows,
    receivers,
    scarcity,
)
from recsys_mtl.data.batch import Batch
from recsys_mtl.gradients import sum_over_processes
from recsys_mtl.losses import TaskLoss
from recsys_mtl.tasks import kind_of
from recsys_mtl.training.transfer.probe import Probe
from recsys_mtl.training.transfer.transfer import StepView, Transfer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BorrowSettings:
    """How much is borrowed, and from whom.

    Attributes:
        strength: λ.
        donors: `measured`, `uniform` (all other tasks, a control), or names by receiver.
        rare: whether a task is scarce by its effective labels instead of its labelled rows.
    """

    strength: float = 4.0
    donors: Literal["measured", "uniform"] | Mapping[str, Sequence[str]] = "measured"
    rare: bool = False


class Borrow(Transfer):
    """Adds λ Σ_i scarcity_i Σ_j |w_ij| L_j(head_ij(own experts of i)).

    Labels are counted in the warm-up. After it, the tasks with few of them become receivers, and
    donors are selected every epoch until they freeze. Heads are linear, start at zero and are not
    part of the network, so a saved model has none. Without a receiver nothing is measured or added
    and no number changes.

    Args:
        adatt: measures and has the phases.
        probe: observes the step for it.
        losses: by task; the loss of a head is that of its donor.
        width: O · D.
        settings: how much, and from whom.
        freeze_gates: see `Transfer`.
    """

    seen: Tensor
    lent: Tensor

    def __init__(
        self,
        adatt: AdaTT,
        probe: Probe,
        losses: Mapping[str, TaskLoss],
        *,
        width: int,
        settings: BorrowSettings,
        freeze_gates: bool = False,
    ) -> None:
        super().__init__(adatt, probe, freeze_gates=freeze_gates)
        self._losses = losses
        self._settings = settings
        self._kinds = [kind_of(task.kind) for task in probe.tasks]
        self._lends = torch.tensor([task.items == 0 for task in probe.tasks])
        self._columns = [0 if task.items else task.outputs for task in probe.tasks]
        self._classes = [k.classes(t) for k, t in zip(self._kinds, probe.tasks, strict=True)]
        size, columns = len(probe.tasks), sum(self._columns)
        starts = [k.head_bias(t) for k, t in zip(self._kinds, probe.tasks, strict=True)]
        bias = torch.cat([s[:c] for s, c in zip(starts, self._columns, strict=True)])
        self.head = nn.Parameter(torch.zeros(size, width, columns))
        self.head_bias = nn.Parameter(bias.repeat(size, 1))
        self.register_buffer("seen", torch.zeros(sum(self._classes)))
        self.register_buffer("lent", torch.zeros(size, size))
        self._read: dict[int, list[int]] | None = None

    @property
    def measures(self) -> bool:
        """In the warm-up; later only if a task may receive."""
        if self._settings.donors != "measured":
            return False
        return self.adatt.phase is Phase.WARMUP or bool(receivers(self.labels()).any())

    def labels(self) -> Tensor:
        """(T,) labels of the warm-up, as they make a task scarce."""
        return self.effective() if self._settings.rare else labelled_rows(self._counts())

    def effective(self) -> Tensor:
        """(T,) effective labels of the warm-up."""
        return effective_labels(self._counts())

    def _counts(self) -> list[list[float]]:
        return [part.tolist() for part in torch.split(self.seen, self._classes)]

    def start_epoch(self, epoch: int) -> None:
        """Sets the phase and, until it freezes, the weights between receivers and donors."""
        resumed = epoch == self.adatt.clock.get("epoch")  # in its middle
        frozen = self.adatt.frozen
        super().start_epoch(epoch)
        self._read = None
        if self.adatt.phase is Phase.WARMUP or resumed:
            return
        if not frozen:
            self.lent.copy_(self._chosen())
        self._report()

    def before(self, batch: Batch, embedded: Sequence[Tensor], present: Tensor) -> None:
        """Measure when due, and count labels in the warm-up."""
        super().before(batch, embedded, present)
        if self.adatt.phase is not Phase.WARMUP:
            return
        counts = []
        columns = zip(batch.labels.unbind(1), self._probe.tasks, self._kinds, strict=True)
        for labels, task, kind in columns:
            known = labels[self._losses[task.name].counting(labels)]
            counts.append(kind.label_counts(task, known))
        self.seen += sum_over_processes(torch.cat([c.to(self.seen) for c in counts]))

    def term(self, view: StepView) -> Tensor | None:
        """The borrowed losses; None without a receiver."""
        if self.adatt.phase is Phase.WARMUP:
            return None
        terms = []
        own, on_cpu = view.outputs.mixed.own, view.present.device.type == "cpu"
        assert own is not None
        for receiver, lenders in self._lenders().items():
            features = own[receiver].transpose(0, 1).flatten(1).float()  # (B, O · D)
            logits = features @ self.head[receiver] + self.head_bias[receiver]
            by_task = torch.split(logits, self._columns, 1)
            for donor in lenders:
                if not on_cpu or view.present[donor]:  # the loss of an absent one is 0
                    name = self._probe.tasks[donor].name
                    loss, _ = self._losses[name](
                        by_task[donor],
                        view.batch.labels[:, donor],
                        view.batch.weights,
                        total=None if view.totals is None else view.totals[0, donor],
                    )
                    terms.append(self.lent[receiver, donor] * loss)
        return self._settings.strength * torch.stack(terms).sum() if terms else None

    def _lenders(self) -> dict[int, list[int]]:
        """The donors of each receiver, read from the device once an epoch."""
        if self._read is None:
            lent = self.lent.tolist()
            of_each = {
                r: [d for d, weight in enumerate(row) if weight] for r, row in enumerate(lent)
            }
            self._read = {receiver: donors for receiver, donors in of_each.items() if donors}
        return self._read

    def diagnostics(self) -> dict[str, Any]:
        """With `borrowed`: receiver -> donor -> weight; `weights` is that as a (1, T, T) matrix.

        Selection by the transfer weights of the other mechanisms plays no part here.
        """
        used = {"weights": self.lent.unsqueeze(0).tolist(), "negative_transfer": {}}
        return super().diagnostics() | used | {"borrowed": self._borrowed()}

    def _borrowed(self) -> dict[str, dict[str, float]]:
        names = self.adatt.tasks
        return {
            names[receiver]: {names[d]: float(row[d]) for d in torch.nonzero(row).flatten()}
            for receiver, row in enumerate(self.lent)
            if row.any()
        }

    def _report(self) -> None:
        each = {
            receiver: ", ".join(f"{donor} ({weight:.2f})" for donor, weight in lent.items())
            for receiver, lent in self._borrowed().items()
        }
        report = (
            "; ".join(f"{name} from {lent}" for name, lent in each.items())
            or "nobody: no task with under a quarter of the median labels has a relative with more"
        )
        log.info("adaTT, who borrows: %s", report)

    def _chosen(self) -> Tensor:
        """(T, T) scarcity of the receiver times the donor's weight."""
        labels, effective, chosen = self.labels(), self.effective(), self._settings.donors
        receiving, size = receivers(labels), len(labels)
        able = self._lends & (effective > 0)
        if chosen == "measured":
            related = self.adatt.measure.affinity().mean(0).cpu() * able
            weights = donors(related, effective, receiving).abs()
        else:
            named = torch.ones(size, size)
            if isinstance(chosen, Mapping):
                names = self.adatt.tasks
                named = torch.tensor(
                    [[float(d in chosen.get(r, ())) for d in names] for r in names]
                )
            weights = named * able * effective.sqrt() * receiving.unsqueeze(1)
            weights.fill_diagonal_(0)
            weights = weights / weights.sum(1, keepdim=True).clamp_min(1e-12)
        return scarcity(labels).unsqueeze(1) * weights
