"""Evaluation: predictions for a complete set first, then metrics on all of them at once.

Shapes: R rows of the set, B rows of a batch, C columns of a task's predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.data.loader import Loader
from recsys_mtl.losses import TaskLosses
from recsys_mtl.metrics import Metrics
from recsys_mtl.model import GateStatistics, GateUse, MultiTaskNetwork
from recsys_mtl.model.device import Precision, autocast
from recsys_mtl.tasks import ToUnit, kind_of
from recsys_mtl.tasks.evaluate import evaluate_task

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Scores:
    """A network's predictions for a set of rows, and their metrics.

    Attributes:
        losses: mean loss per task over its labelled rows, weighted by row; None where none is
            labelled. (InfoNCE of a large catalogue depends on the other rows of a batch.)
        labelled: labelled rows per task.
        metrics: metrics per task.
        predictions: per task (R,) or (R, C), as `Kind.predict` gives them, in the label's unit.
        labels: per task (R,), NaN where unlabelled, in the label's unit.
        weights: (R,) row weights.
        gates: use of the experts per task; empty where nothing is gated.
    """

    losses: dict[str, float | None]
    labelled: dict[str, int]
    metrics: dict[str, Metrics]
    predictions: dict[str, Array] = field(repr=False)
    labels: dict[str, Array] = field(repr=False)
    weights: Array = field(repr=False)
    gates: dict[str, GateUse]


def mean_loss(losses: Mapping[str, float | None], weights: Mapping[str, float]) -> float | None:
    """Weighted mean of the losses that are defined; None if no loss is."""
    seen = {task: loss for task, loss in losses.items() if loss is not None}
    if not seen:
        return None
    return sum(weights[t] * loss for t, loss in seen.items()) / sum(weights[t] for t in seen)


@dataclass(frozen=True)
class Evaluator:
    """Scores a network on a set of rows.

    Attributes:
        tasks: the tasks, in the order of the label columns.
        losses: one loss per task.
        inverse: by task, from targets and predictions to the label's unit; see `Label.to_unit`.
        precision: of the matrix products.
        calibration_bins: bins of the calibration error.
        top_k: the K of recall at K.
    """

    tasks: Sequence[TaskSpec]
    losses: TaskLosses
    inverse: Mapping[str, ToUnit]
    precision: Precision
    calibration_bins: int
    top_k: Sequence[int]

    @torch.no_grad()
    def __call__(self, network: MultiTaskNetwork, loader: Loader) -> Scores:
        """Run the network over all rows and compute every metric on all of them."""
        network.eval()
        device = network.dense_parameters()[0].device
        sums = np.zeros(len(self.tasks))
        masses = np.zeros(len(self.tasks))
        counts = np.zeros(len(self.tasks), dtype=np.int64)
        parts: dict[str, list[Array]] = {task.name: [] for task in self.tasks}
        labels: list[Array] = []
        weights: list[Array] = []
        gates = GateStatistics(network.expert_names)
        for batch in loader.epoch(0):
            moved = batch.to(device)
            with autocast(self.precision, device):
                outputs = network(moved)
            losses, counted = self.losses(
                outputs.logits, moved.labels, moved.weights, network.item_tables()
            )
            mass = self.losses.masses(moved.labels, moved.weights)
            sums += (losses.double() * mass).cpu().numpy()
            masses += mass.cpu().numpy()
            counts += counted.cpu().numpy()
            gates.update(outputs.gates, moved.weights)
            labels.append(batch.labels.numpy())
            weights.append(batch.weights.numpy())
            for index, task in enumerate(self.tasks):
                predicted = kind_of(task.kind).predict(
                    task,
                    outputs.logits[task.name].float(),
                    batch.labels[:, index],
                    partial(network.scores, task.name),
                )
                parts[task.name].append(predicted.cpu().numpy())
        names = [task.name for task in self.tasks]
        means = [float(s / m) if m else None for s, m in zip(sums, masses, strict=True)]
        predictions = {name: np.concatenate(part) for name, part in parts.items()}
        in_unit = dict(zip(names, np.concatenate(labels).T, strict=True))
        for name, invert in self.inverse.items():
            predictions[name], in_unit[name] = invert(predictions[name]), invert(in_unit[name])
        row_weights = np.concatenate(weights)
        return Scores(
            losses=dict(zip(names, means, strict=True)),
            labelled=dict(zip(names, counts.tolist(), strict=True)),
            metrics=self._metrics(in_unit, predictions, row_weights),
            predictions=predictions,
            labels=in_unit,
            weights=row_weights,
            gates=gates.compute(),
        )

    def _metrics(
        self, labels: Mapping[str, Array], predictions: Mapping[str, Array], weights: Array
    ) -> dict[str, Metrics]:
        return {
            task.name: evaluate_task(
                task.kind,
                labels[task.name],
                predictions[task.name],
                weights,
                calibration_bins=self.calibration_bins,
                top_k=self.top_k,
            )
            for task in self.tasks
        }
