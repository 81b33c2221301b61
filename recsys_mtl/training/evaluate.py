"""Evaluation: predictions for a complete set first, then metrics on all of them at once.

Shapes: R rows of the set, B rows of a batch, C columns of a task's predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys_mtl import parallel
from recsys_mtl.columns.keys import GroupKey, Key, SegmentKey
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.data.batch import Batch, never_empty
from recsys_mtl.data.loader import Loader
from recsys_mtl.losses import TaskLosses
from recsys_mtl.metrics import Metrics, from_values, to_values
from recsys_mtl.metrics.weighing import Ints
from recsys_mtl.model import GateStatistics, GateUse, MultiTaskNetwork
from recsys_mtl.model.device import Precision, autocast
from recsys_mtl.tasks import ToUnit, kind_of
from recsys_mtl.tasks.evaluate import evaluate_task
from recsys_mtl.tasks.kind import Scoring
from recsys_mtl.training.all_rows import AllRows
from recsys_mtl.training.collected import CollectedRows, Column

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
            labelled. (InfoNCE of a large catalogue depends on the other rows of a batch that the
            process has.)
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
        """Run the network over all rows and compute every metric on all of them.

        Where processes share the loader's rows, each runs the network over its own. The first one
        computes the metrics, and its scores alone have rows; the numbers are the same in all.

        Raises:
            UserError: of the loader of any process.
        """
        network.eval()
        device = network.dense_parameters()[0].device
        shared = parallel.several() and len(loader.shares(0)) > 1
        rows, gates = CollectedRows(loader), GateStatistics(network.expert_names)
        sums, masses = np.zeros((2, len(self.tasks)))
        counts = np.zeros(len(self.tasks), dtype=np.int64)
        scorers = [network.scorer(t.name) if t.items else _no_items for t in self.tasks]
        batches = loader.epoch(0)
        for some in parallel.in_step(batches) if shared else batches:
            batch = never_empty(some)
            moved = batch.to(device)
            with autocast(self.precision, device):
                embedded = network.embed(moved)
                outputs = network.forward_from(embedded, moved)
            every = AllRows.of(self.losses, moved) if shared else self._own_rows(moved)
            items, totals = network.candidates(embedded, moved), every.totals
            losses, counted = every.losses(
                *self.losses(outputs.logits, moved.labels, moved.weights, items, totals=totals)
            )
            sums += (losses.double() * every.masses).cpu().numpy()
            masses += every.masses.cpu().numpy()
            counts += counted.cpu().numpy()
            gates.update(outputs.gates, moved.weights)
            rows.add(self._columns(batch, outputs.logits, scorers))
        if shared:
            gates.sum_over_processes()
        names = [task.name for task in self.tasks]
        means = [float(s / m) if m else None for s, m in zip(sums, masses, strict=True)]
        numbers = Scores(
            losses=dict(zip(names, means, strict=True)),
            labelled=dict(zip(names, counts.tolist(), strict=True)),
            metrics={},
            predictions={},
            labels={},
            weights=np.empty(0),
            gates=gates.compute(),
        )
        if not shared:
            return self._measured_on(rows.columns, numbers)
        measured = parallel.on_first(lambda: self._measured_on(rows.columns, numbers))
        return _with_metrics_of_first(numbers if measured is None else measured)

    @torch.no_grad()
    def predicted(
        self, network: MultiTaskNetwork, loader: Loader
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Labels and predictions of one process' rows by task, as `Scores` has them; no metrics."""
        network.eval()
        device = network.dense_parameters()[0].device
        rows = CollectedRows(loader)
        scorers = [network.scorer(t.name) if t.items else _no_items for t in self.tasks]
        for batch in loader.epoch(0):
            moved = batch.to(device)
            with autocast(self.precision, device):
                outputs = network.forward_from(network.embed(moved), moved)
            rows.add(self._columns(batch, outputs.logits, scorers))
        return self._in_unit(rows.columns)

    def _own_rows(self, batch: Batch) -> AllRows:
        return AllRows(self.losses.masses(batch.labels, batch.weights), batch.num_rows)

    def _columns(
        self, batch: Batch, logits: Mapping[str, Tensor], scorers: Sequence[Scoring]
    ) -> dict[str, Column]:
        """Weights, keys, labels and predictions of a batch's rows."""
        columns: dict[str, Column] = {"weights": batch.weights.numpy()}
        if batch.keys is not None:
            columns["keys"] = batch.keys.numpy()
        for index, task in enumerate(self.tasks):
            targets = batch.targets(index, task.name)
            outputs = logits[task.name].float()
            predicted = kind_of(task.kind).predict(task, outputs, targets, scorers[index])
            columns[f"label {task.name}"] = targets.numpy()
            columns[f"prediction {task.name}"] = predicted.cpu().numpy()
        return {name: column[: batch.real_rows] for name, column in columns.items()}

    def _measured_on(self, columns: Mapping[str, Column], numbers: Scores) -> Scores:
        """The scores with these rows and their metrics."""
        labels, predictions = self._in_unit(columns)
        weights = columns["weights"]
        groups, segments = grouped(self.keys, columns.get("keys"))
        return replace(
            numbers,
            metrics=self._metrics(labels, predictions, weights, groups),
            predictions=predictions,
            labels=labels,
            weights=weights,
            conditional=self._conditional(labels, predictions, weights, groups),
            groups=groups,
            segments=segments,
        )

    def _in_unit(self, columns: Mapping[str, Column]) -> tuple[dict[str, Array], dict[str, Array]]:
        """Labels and predictions by task, in the label's unit."""
        labels, predictions = (
            {task.name: columns[f"{what} {task.name}"] for task in self.tasks}
            for what in ("label", "prediction")
        )
        for name, invert in self.inverse.items():
            predictions[name], labels[name] = invert(predictions[name]), invert(labels[name])
        return labels, predictions

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


def _with_metrics_of_first(scores: Scores) -> Scores:
    """The scores with the metrics of the first process; a collective."""
    metrics, conditional = parallel.broadcast(
        [
            {task: to_values(of) for task, of in scores.metrics.items()},
            {task: asdict(of) for task, of in scores.conditional.items()},
        ]
    )
    return replace(
        scores,
        metrics={task: from_values(of) for task, of in metrics.items()},
        conditional={
            task: Conditional(**{**of, "metrics": from_values(of["metrics"])})
            for task, of in conditional.items()
        },
    )


def _no_items(queries: Tensor) -> Tensor:
    raise AssertionError("a task without items has no scores of items")


def conditional_probability(joint: Array, before: Array) -> Array:
    """(R,) probabilities given an event, from those with it and of it; 0 where it cannot happen."""
    quotient = np.divide(joint, before, out=np.zeros_like(joint), where=before > 0)
    return np.minimum(quotient, 1.0)
