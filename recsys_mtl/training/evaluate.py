"""Evaluation: predictions for a whole set first, then metrics on all of them at once.

Shapes: R rows of the set, B rows of a batch, K classes, I items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.data.loader import Loader
from recsys_mtl.losses import TaskLosses
from recsys_mtl.metrics import Metrics, evaluate_task, true_item_ranks
from recsys_mtl.model import GateStatistics, GateUse, MultiTaskNetwork
from recsys_mtl.model.device import Precision, autocast

Array = NDArray[np.floating]
Inverse = Callable[[Array], Array]
_SCORES_AT_ONCE = 8_000_000  # numbers of a (rows, items) score matrix held at once


@dataclass(frozen=True)
class Scores:
    """What a network says of a set of rows, and how right it is.

    Attributes:
        losses: mean loss per task over its labelled rows, weighted by row; None where none is
            labelled. (InfoNCE of a large catalogue depends on what else is in a batch.)
        labelled: labelled rows per task.
        metrics: metrics per task.
        predictions: per task (R,) probabilities, (R, K) probabilities, (R,) values in the label's
            unit, or (R,) ranks of the true item.
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
    """Mean loss over the tasks that have one, weighted; None where none has."""
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
        inverse: for regression tasks, from the transformed target to the label's unit.
        precision: of the matrix products.
        calibration_bins: bins of the calibration error.
        top_k: the K of recall at K.
    """

    tasks: Sequence[TaskSpec]
    losses: TaskLosses
    inverse: Mapping[str, Inverse]
    precision: Precision
    calibration_bins: int
    top_k: Sequence[int]

    @torch.no_grad()
    def __call__(self, network: MultiTaskNetwork, loader: Loader) -> Scores:
        """Run the network over all rows and compute every metric on the whole."""
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
            gates.update(outputs.gates)
            labels.append(batch.labels.numpy())
            weights.append(batch.weights.numpy())
            for index, task in enumerate(self.tasks):
                predicted = predict_task(
                    network, task, outputs.logits[task.name], batch.labels[:, index]
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


def predict_task(
    network: MultiTaskNetwork, task: TaskSpec, logits: Tensor, labels: Tensor
) -> Tensor:
    """What metrics judge, from a tower's output.

    Args:
        network: holds the item tables of retrieval tasks.
        task: the task.
        logits: (B, outputs).
        labels: (B,) the true items of a retrieval task; not used by others.

    Returns:
        (B,) probabilities, (B, K) probabilities, (B,) transformed values, or (B,) ranks (NaN where
        unlabelled).
    """
    logits = logits.float()
    match task.kind:
        case "binary":
            return torch.sigmoid(logits[:, 0])
        case "multiclass":
            return torch.softmax(logits, dim=1)
        case "regression":
            return logits[:, 0]
        case "retrieval":
            return _ranks(network, task, logits, labels)


def _ranks(network: MultiTaskNetwork, task: TaskSpec, queries: Tensor, labels: Tensor) -> Tensor:
    """(B,) ranks of the true items in the whole catalogue, NaN where unlabelled."""
    ranks = torch.full(labels.shape, torch.nan)
    rows = torch.nonzero(~labels.isnan()).flatten()
    for some in torch.split(rows, max(1, _SCORES_AT_ONCE // task.items)):
        scores = network.scores(task.name, queries[some.to(queries.device)])
        found = true_item_ranks(scores.cpu().numpy(), labels[some].numpy())
        ranks[some] = torch.as_tensor(found, dtype=torch.float32)
    return ranks
