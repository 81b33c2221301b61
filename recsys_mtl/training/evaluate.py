"""Evaluation: predictions for a complete set first, then metrics on all of them at once.

Shapes: R rows of the set, B rows of a batch, C columns of a task's predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys_mtl.columns.keys import GroupKey, Key, SegmentKey
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.data.loader import Loader
from recsys_mtl.losses import TaskLosses
from recsys_mtl.metrics import Metrics
from recsys_mtl.metrics.weighing import Ints
from recsys_mtl.model import GateStatistics, GateUse, MultiTaskNetwork
from recsys_mtl.model.device import Precision, autocast
from recsys_mtl.tasks import ToUnit, kind_of
from recsys_mtl.tasks.evaluate import evaluate_task

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Conditional:
    """Metrics of a task behind another one on the rows where that one happened.

    Attributes:
        given: the task before.
        labelled: rows.
        metrics: of the conditional probability.
    """

    given: str
    labelled: int
    metrics: Metrics


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
        conditional: of tasks behind others, whose other entries are of all events together.
        groups: (R,) the list of each row, `NO_GROUP` without one; None: rows are in no lists.
        segments: by column, (R,) the segment of each row, and the segments' names.
    """

    losses: dict[str, float | None]
    labelled: dict[str, int]
    metrics: dict[str, Metrics]
    predictions: dict[str, Array] = field(repr=False)
    labels: dict[str, Array] = field(repr=False)
    weights: Array = field(repr=False)
    gates: dict[str, GateUse]
    conditional: dict[str, Conditional] = field(default_factory=dict)
    groups: Ints | None = field(default=None, repr=False)
    segments: Mapping[str, tuple[Ints, Sequence[str]]] = field(default_factory=dict, repr=False)


def mean_loss(losses: Mapping[str, float | None], weights: Mapping[str, float]) -> float | None:
    """Weighted mean of the losses that are defined; None if no loss is."""
    seen = {task: loss for task, loss in losses.items() if loss is not None}
    if not seen:
        return None
    return sum(weights[t] * loss for t, loss in seen.items()) / sum(weights[t] for t in seen)


def grouped(
    keys: Sequence[Key], encoded: Ints | None
) -> tuple[Ints | None, dict[str, tuple[Ints, Sequence[str]]]]:
    """The list of each row, and by column its segment and the segments' names.

    Args:
        keys: the columns.
        encoded: (R, K) their values; None: there are none.
    """
    groups: Ints | None = None
    segments: dict[str, tuple[Ints, Sequence[str]]] = {}
    for index, key in enumerate(keys if encoded is not None else ()):
        assert encoded is not None
        if isinstance(key, GroupKey):
            groups = encoded[:, index]
        elif isinstance(key, SegmentKey):
            segments[key.column] = encoded[:, index], key.names
    return groups, segments


@dataclass(frozen=True)
class Evaluator:
    """Scores a network on a set of rows.

    Attributes:
        tasks: the tasks, in the order of the label columns.
        losses: one loss per task.
        inverse: by task, from targets and predictions to the label's unit; see `Label.to_unit`.
        precision: of the matrix products.
        calibration_bins: bins of the calibration error.
        top_k: the K of metrics at K.
        keys: columns that rows are grouped by, in the order of a batch.
    """

    tasks: Sequence[TaskSpec]
    losses: TaskLosses
    inverse: Mapping[str, ToUnit]
    precision: Precision
    calibration_bins: int
    top_k: Sequence[int]
    keys: Sequence[Key] = ()

    @torch.no_grad()
    def __call__(self, network: MultiTaskNetwork, loader: Loader) -> Scores:
        """Run the network over all rows and compute every metric on all of them."""
        network.eval()
        device = network.dense_parameters()[0].device
        sums = np.zeros(len(self.tasks))
        masses = np.zeros(len(self.tasks))
        counts = np.zeros(len(self.tasks), dtype=np.int64)
        parts = {task.name: _Joined(loader.num_rows) for task in self.tasks}
        labels: dict[str, list[Array]] = {task.name: [] for task in self.tasks}
        weights: list[Array] = []
        keys: list[Ints] = []
        gates = GateStatistics(network.expert_names)
        scorers = [network.scorer(t.name) if t.items else _no_items for t in self.tasks]
        for batch in loader.epoch(0):
            moved = batch.to(device)
            with autocast(self.precision, device):
                embedded = network.embed(moved)
                outputs = network.forward_from(embedded, moved)
            losses, counted = self.losses(
                outputs.logits, moved.labels, moved.weights, network.candidates(embedded, moved)
            )
            mass = self.losses.masses(moved.labels, moved.weights)
            sums += (losses.double() * mass).cpu().numpy()
            masses += mass.cpu().numpy()
            counts += counted.cpu().numpy()
            gates.update(outputs.gates, moved.weights)
            weights.append(batch.weights.numpy())
            keys += [] if batch.keys is None else [batch.keys.numpy()]
            for index, task in enumerate(self.tasks):
                targets = batch.targets(index, task.name)
                logits = outputs.logits[task.name].float()
                predicted = kind_of(task.kind).predict(task, logits, targets, scorers[index])
                labels[task.name].append(targets.numpy())
                parts[task.name].append(predicted.cpu().numpy())
        names = [task.name for task in self.tasks]
        means = [float(s / m) if m else None for s, m in zip(sums, masses, strict=True)]
        predictions = {name: part.rows for name, part in parts.items()}
        in_unit = {name: np.concatenate(part) for name, part in labels.items()}
        for name, invert in self.inverse.items():
            predictions[name], in_unit[name] = invert(predictions[name]), invert(in_unit[name])
        row_weights = np.concatenate(weights)
        groups, segments = grouped(self.keys, np.concatenate(keys) if keys else None)
        return Scores(
            losses=dict(zip(names, means, strict=True)),
            labelled=dict(zip(names, counts.tolist(), strict=True)),
            metrics=self._metrics(in_unit, predictions, row_weights, groups),
            predictions=predictions,
            labels=in_unit,
            weights=row_weights,
            gates=gates.compute(),
            conditional=self._conditional(in_unit, predictions, row_weights, groups),
            groups=groups,
            segments=segments,
        )

    def _metrics(
        self,
        labels: Mapping[str, Array],
        predictions: Mapping[str, Array],
        weights: Array,
        groups: Ints | None,
    ) -> dict[str, Metrics]:
        return {
            t.name: self._measured(t, labels[t.name], predictions[t.name], weights, groups)
            for t in self.tasks
        }

    def _measured(
        self,
        task: TaskSpec,
        labels: Array,
        predictions: Array,
        weights: Array,
        groups: Ints | None,
    ) -> Metrics:
        return evaluate_task(
            task.kind,
            labels,
            predictions,
            weights,
            calibration_bins=self.calibration_bins,
            top_k=self.top_k,
            groups=groups,
        )

    def _conditional(
        self,
        labels: Mapping[str, Array],
        predictions: Mapping[str, Array],
        weights: Array,
        groups: Ints | None,
    ) -> dict[str, Conditional]:
        """Of each task behind another one that is there too."""
        conditional = {}
        for task in self.tasks:
            if task.through is None:
                continue
            observed = np.where(labels[task.through] == 1, labels[task.name], np.nan)
            given = conditional_probability(predictions[task.name], predictions[task.through])
            metrics = self._measured(task, observed, given, weights, groups)
            rows = int((~np.isnan(observed) & (weights > 0)).sum())
            conditional[task.name] = Conditional(task.through, rows, metrics)
        return conditional


class _Joined:
    """Parts that become one array without a second copy of all; at least one part.

    Args:
        most: rows of all parts, at most.
    """

    def __init__(self, most: int) -> None:
        self._most, self._filled = most, 0
        self._rows: Array | None = None

    def append(self, part: Array) -> None:
        """Takes the next rows (B, …)."""
        if self._rows is None:
            self._rows = np.empty((self._most, *part.shape[1:]), part.dtype)
        self._rows[self._filled : self._filled + len(part)] = part
        self._filled += len(part)

    @property
    def rows(self) -> Array:
        """(R, …) all of them."""
        assert self._rows is not None
        return self._rows[: self._filled]


def _no_items(queries: Tensor) -> Tensor:
    raise AssertionError("a task without items has no scores of items")


def conditional_probability(joint: Array, before: Array) -> Array:
    """(R,) probabilities given an event, from those with it and of it; 0 where it cannot happen."""
    quotient = np.divide(joint, before, out=np.zeros_like(joint), where=before > 0)
    return np.minimum(quotient, 1.0)
