"""One loss a task: the weighted mean over its labelled rows.

Shapes: B rows, T tasks, o outputs of a task's tower, I items.

A NaN label means unlabelled. Such a row has zero loss and exactly zero gradient, whatever its
logits are: it is replaced before the loss sees it, for NaN times zero is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recsys_mtl.columns.spec import TaskKind
from recsys_mtl.errors import did_you_mean, wrong
from recsys_mtl.losses import pointwise

LOSSES: dict[TaskKind, tuple[str, ...]] = {
    "binary": ("bce", "focal"),
    "multiclass": ("cross_entropy",),
    "regression": ("mse", "huber"),
    "retrieval": ("info_nce",),
}
"""The losses of each kind of task; the first is the default."""


@dataclass(frozen=True)
class TaskLoss:
    """The loss of one task.

    Attributes:
        kind: kind of label.
        name: a loss of that kind in `LOSSES`; its first one if empty.
        gamma: focusing parameter of focal loss.
        alpha: weight of the positive class in focal loss.
        delta: huber's threshold, in the unit of the (transformed) label.
        temperature: divides the similarities of retrieval.

    Raises:
        UserError: the kind has no loss of that name.
    """

    kind: TaskKind
    name: str = ""
    gamma: float = 2.0
    alpha: float = 0.25
    delta: float = 1.0
    temperature: float = 0.07

    def __post_init__(self) -> None:
        known = LOSSES[self.kind]
        if not self.name:
            object.__setattr__(self, "name", known[0])
        if self.name not in known:
            raise wrong(
                f"unknown loss of a {self.kind} task",
                expected=" or ".join(known),
                found=self.name,
                fix=did_you_mean(self.name, known),
            )

    @property
    def elementwise(self) -> bool:
        """One output and one label a row, so that several tasks can share one call."""
        return self.kind in ("binary", "regression")

    def __call__(
        self, logits: Tensor, labels: Tensor, weights: Tensor, items: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The mean over labelled rows, each counting as much as its weight.

        Args:
            logits: (B, o) tower outputs; the query for retrieval.
            labels: (B,), NaN where unlabelled.
            weights: (B,) row weights, not negative.
            items: (I, o) item table of a retrieval task.

        Returns:
            The loss, a scalar (zero, and with zero gradients, where no row counts), and the number
            of rows that count: labelled and of positive weight.
        """
        losses, counts = self.stacked(logits, labels.unsqueeze(1), weights, items)
        return losses.squeeze(0), counts.squeeze(0)

    def stacked(
        self, logits: Tensor, labels: Tensor, weights: Tensor, items: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The same for G tasks at once, which only element-wise losses allow for G > 1.

        Args:
            logits: (B, G), or (B, o) with G = 1.
            labels: (B, G).
            weights: (B,).
            items: (I, o) item table of a retrieval task.

        Returns:
            (G,) losses and (G,) counts.
        """
        labelled = ~labels.isnan()
        safe_labels = torch.where(labelled, labels, 0)
        row_weights = torch.where(labelled, weights.unsqueeze(1), 0)
        if items is not None and self.kind == "retrieval":
            # Rows are selected, not masked: an unlabelled row must not add a negative item, and
            # of the unknown item (0) there is nothing to learn.
            rows = (labelled & (safe_labels > 0)).squeeze(1)
            row_weights = row_weights[rows]
            losses = pointwise.info_nce(
                logits[rows],
                safe_labels[rows].squeeze(1),
                items,
                temperature=self.temperature,
            ).unsqueeze(1)
        else:
            losses = self._rows(torch.where(labelled, logits, 0), safe_labels)
        total = row_weights.sum(0)
        mean = (row_weights * losses).sum(0) / torch.where(total > 0, total, 1)
        return mean, (row_weights > 0).sum(0)

    def _rows(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(B, G) losses of rows; every label is valid."""
        match self.name:
            case "bce":
                return pointwise.bce_with_logits(logits, labels)
            case "focal":
                return pointwise.focal(logits, labels, gamma=self.gamma, alpha=self.alpha)
            case "mse":
                return pointwise.mse(logits, labels)
            case "huber":
                return pointwise.huber(logits, labels, delta=self.delta)
            case "cross_entropy":
                return pointwise.cross_entropy(logits, labels.squeeze(1)).unsqueeze(1)
        raise ValueError("a retrieval loss needs the item table: items is None")


class TaskLosses:
    """The losses of all tasks of a batch; element-wise losses of equal settings in one call.

    Args:
        tasks: the loss of each task, by name, in the order of the batch's label columns.
    """

    def __init__(self, tasks: Mapping[str, TaskLoss]) -> None:
        self.tasks = dict(tasks)
        self.names = tuple(tasks)
        self._retrieval = torch.tensor([loss.kind == "retrieval" for loss in tasks.values()])
        groups: dict[tuple[TaskLoss, int], list[int]] = {}
        for column, loss in enumerate(tasks.values()):
            key = (loss, -1 if loss.elementwise else column)
            groups.setdefault(key, []).append(column)
        self._groups = [(loss, group) for (loss, _), group in groups.items()]

    def __call__(
        self,
        logits: Mapping[str, Tensor],
        labels: Tensor,
        weights: Tensor,
        items: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Losses and counts of all tasks.

        Args:
            logits: (B, o) by task.
            labels: (B, T), NaN where unlabelled.
            weights: (B,) row weights.
            items: item tables of the retrieval tasks, by task.

        Returns:
            (T,) losses and (T,) numbers of rows that count, as in `TaskLoss`.
        """
        columns = labels.unbind(1)
        losses: dict[int, Tensor] = {}
        counts: dict[int, Tensor] = {}
        for loss, group in self._groups:
            stacked, counted = loss.stacked(
                _side_by_side([logits[self.names[task]] for task in group]),
                torch.stack([columns[task] for task in group], 1),
                weights,
                (items or {}).get(self.names[group[0]]),
            )
            losses.update(zip(group, stacked.unbind(0), strict=True))
            counts.update(zip(group, counted.unbind(0), strict=True))
        order = range(len(self.names))
        return torch.stack([losses[t] for t in order]), torch.stack([counts[t] for t in order])

    def masses(self, labels: Tensor, weights: Tensor) -> Tensor:
        """(T,) float64: the weight of the rows that each task's loss is a mean over.

        Args:
            labels: (B, T), NaN where unlabelled.
            weights: (B,) row weights.
        """
        unknown_items = (labels == 0) & self._retrieval.to(labels.device)
        return weights.double() @ (~labels.isnan() & ~unknown_items).double()


def _side_by_side(outputs: Sequence[Tensor]) -> Tensor:
    """(B, o) outputs of tasks next to each other."""
    return outputs[0] if len(outputs) == 1 else torch.cat(list(outputs), 1)
