"""A measure's view of a (sub-)batch: one forward pass without dropout, computed on request.

Shapes: B rows of the sub-batch, T tasks, d_e entries of expert e.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recsys_mtl import parallel
from recsys_mtl.adatt import Observation
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.data.batch import Batch
from recsys_mtl.gradients import over_processes, sum_over_processes
from recsys_mtl.losses import TaskLosses
from recsys_mtl.model import MultiTaskNetwork, Outputs
from recsys_mtl.model.device import Precision, autocast
from recsys_mtl.tasks import kind_of
from recsys_mtl.training.shared_gradients import shared_gradients


@dataclass(frozen=True)
class Probe:
    """The part of a step that a measure observes.

    Attributes:
        network: the model.
        losses: one loss per task.
        tasks: in the order of the label columns.
        rows: number of first rows of a batch; None: all.
        precision: of the matrix products.
    """

    network: MultiTaskNetwork
    losses: TaskLosses
    tasks: Sequence[TaskSpec]
    rows: int | None
    precision: Precision

    def observation(self, batch: Batch, embedded: Sequence[Tensor]) -> Observation:
        """The values that a measure may request; nothing is computed yet.

        Args:
            batch: the step's rows, in random order.
            embedded: their embeddings, off the graph.
        """
        rows = None if self.rows is None else parallel.mine(self.rows)
        if rows is not None and rows < batch.num_rows:
            batch = batch.head(rows, self.network.layouts_above)
            embedded = [tensor[:rows] for tensor in embedded]
        masses = self.losses.masses(batch.labels, batch.weights).float()
        outputs: list[Outputs] = []

        def forward() -> Outputs:
            if not outputs:
                outputs.append(self._forward(batch, embedded))
            return outputs[0]

        return Observation(
            counts=sum_over_processes(masses),
            gradients=lambda: self._gradients(forward(), embedded, batch),
            outputs=lambda: [
                kind_of(t.kind).directions(forward().logits[t.name].detach().float())
                for t in self.tasks
            ],
            inputs=lambda: self.network.inputs_of(embedded, batch),
            residuals=lambda: [
                self._residuals(task, batch.targets(column, task.name), batch.weights)
                for column, task in enumerate(self.tasks)
            ],
            weights=batch.weights,
            sum_over_processes=sum_over_processes,
        )

    def _forward(self, batch: Batch, embedded: Sequence[Tensor]) -> Outputs:
        """Without dropout: random numbers stay those of a run without adaTT."""
        device, training = batch.weights.device, self.network.training
        self.network.eval()
        with autocast(self.precision, device):
            outputs = self.network.forward_from(embedded, batch)
        self.network.train(training)
        return outputs

    def _gradients(
        self, outputs: Outputs, embedded: Sequence[Tensor], batch: Batch
    ) -> list[Tensor]:
        """(T, d_e) of every shared expert, of all processes' rows."""
        items = self.network.candidates(embedded, batch)
        losses, counts = self.losses(outputs.logits, batch.labels, batch.weights, items)
        blocks = self.network.shared_expert_parameters()
        rows = shared_gradients(self.network, outputs, losses, blocks, counts > 0)
        totals = self.losses.totals(batch.labels, batch.weights)[0].float()
        return over_processes(rows, totals)[0]

    def _residuals(self, task: TaskSpec, labels: Tensor, weights: Tensor) -> Tensor:
        """(B, C) mean label minus label, times the row's weight; 0 where unlabelled."""
        counts = self.losses.tasks[task.name].counting(labels)
        items = self.network.item_vectors(task.name).detach() if task.items else None
        targets = kind_of(task.kind).targets(task, torch.where(counts, labels, 0), items)
        mass = torch.where(counts, weights, 0).unsqueeze(1)
        sums = sum_over_processes(torch.cat([(mass * targets).sum(0), mass.sum(0)]))
        mean = sums[:-1] / torch.where(sums[-1] > 0, sums[-1], 1)
        return mass * (mean - targets)
