"""One loss a task: the weighted mean over its labelled rows.

Shapes: B rows, T tasks, o outputs of a task's tower.

A NaN label means unlabelled. Such a row has zero loss and exactly zero gradient, whatever its
logits are: it is replaced before the loss is computed, as NaN times zero is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from recsys_mtl.losses.balancer import zero
from recsys_mtl.losses.candidates import Candidates
from recsys_mtl.losses.entire_space import Through, counterfactual
from recsys_mtl.losses.pointwise import NAMED


@dataclass(frozen=True)
class TaskLoss:
    """The loss of one task: the weighted mean of a loss of rows.

    Attributes:
        rows: (B, o) outputs and (B,) labels to (B,) losses, or, where `elementwise`, (B, G) and
            (B, G) to (B, G). Every label is valid.
        settings: keyword arguments of `rows`.
        elementwise: one output and one label a row; several tasks can then share one call.
        keep: share of the rows of label 0 that are there, each with the weight of 1 / `keep`. The
            logits are those of all rows, so in the sample the odds are 1 / `keep` times as high;
            rows count without that weight (King & Zeng 2001, prior correction).
    """

    rows: Callable[..., Tensor]
    settings: tuple[tuple[str, float | tuple[float, ...]], ...] = ()
    elementwise: bool = False
    keep: float = 1.0

    @classmethod
    def named(cls, name: str, **settings: float) -> Self:
        """The element-wise loss of that name."""
        return cls(NAMED[name], tuple(settings.items()), elementwise=True)

    def __call__(
        self,
        logits: Tensor,
        labels: Tensor,
        weights: Tensor,
        items: Candidates | None = None,
        total: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The weighted mean over labelled rows.

        Args:
            logits: (B, o) tower outputs; the query for retrieval.
            labels: (B,), NaN where unlabelled.
            weights: (B,) row weights, not negative.
            items: those that compete, of a retrieval task.
            total: (), see `TaskLosses.totals`; None: of these rows.

        Returns:
            The loss, a scalar (zero, and with zero gradients, where no row counts), and the number
            of rows that count: labelled and of positive weight.
        """
        losses, counts = self.stacked(logits, labels.unsqueeze(1), weights, items, total)
        return losses.squeeze(0), counts.squeeze(0)

    def stacked(
        self,
        logits: Tensor,
        labels: Tensor,
        weights: Tensor,
        items: Candidates | None = None,
        total: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The same for G tasks at once, which only element-wise losses allow for G > 1.

        Args:
            logits: (B, G), or (B, o) with G = 1; (k · B, …) of k members, for the mean of their
                losses.
            labels: (B, G).
            weights: (B,).
            items: those that compete, of a retrieval task.
            total: (G,), as in `__call__`.

        Returns:
            (G,) losses and (G,) counts.
        """
        members = max(1, len(logits) // max(1, len(labels)))
        if members > 1:
            labels, weights = labels.repeat(members, 1), weights.repeat(members)
        counts = self.counting(labels)
        row_weights = self._of_rows(counts, labels, weights)
        if self.keep < 1:
            logits = logits.float() - math.log(self.keep)
        row_weights, losses = self._selected(counts, row_weights, logits, labels, items)
        total = row_weights.sum(0) if total is None else total * members
        mean = (row_weights * losses).sum(0) / total.clamp_min(torch.finfo(total.dtype).tiny)
        counted = (row_weights > 0).sum(0)
        return mean, counted if members == 1 else counted // members

    def counting(self, labels: Tensor) -> Tensor:
        """Whether each label (any shape) counts; bool of the same shape."""
        return labels == labels  # in one operation, false for NaN

    def row_weights(self, labels: Tensor, weights: Tensor) -> Tensor:
        """(B, G) weight in the mean of (B, G) labels in rows of (B,) weights."""
        return self._of_rows(self.counting(labels), labels, weights)

    def _of_rows(self, counts: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        own = torch.where(counts, weights.unsqueeze(1), zero(weights.device))
        return torch.where(labels == 0, own * self.keep, own) if self.keep < 1 else own

    def _selected(
        self,
        counts: Tensor,
        row_weights: Tensor,
        logits: Tensor,
        labels: Tensor,
        items: Candidates | None,
    ) -> tuple[Tensor, Tensor]:
        """(R, G) weights and losses of the R ≤ B rows that the mean is over."""
        del items
        nothing = zero(logits.device)
        labels, logits = torch.where(counts, labels, nothing), torch.where(counts, logits, nothing)
        if self.elementwise:
            return row_weights, self.rows(logits, labels, **dict(self.settings))
        losses = self.rows(logits, labels.squeeze(1), **dict(self.settings))
        return row_weights, losses.unsqueeze(1)


@dataclass(frozen=True)
class ItemLoss(TaskLoss):
    """The loss of a task that retrieves items: `rows` also takes the items that compete.

    The unknown item (label 0) cannot be learned: its rows count as unlabelled.

    Attributes:
        corrected: whether the bias of drawing negatives from the batch is corrected.
    """

    corrected: bool = True

    def counting(self, labels: Tensor) -> Tensor:
        """Whether each label (any shape) counts; bool of the same shape."""
        return labels > 0  # false for NaN

    def _selected(
        self,
        counts: Tensor,
        row_weights: Tensor,
        logits: Tensor,
        labels: Tensor,
        items: Candidates | None,
    ) -> tuple[Tensor, Tensor]:
        """Rows are selected, not masked: an unlabelled row must not add a negative item."""
        if items is None:
            raise ValueError("a retrieval loss needs the items that compete: items is None")
        rows = counts.squeeze(1)
        positions = items.positions.repeat(len(rows) // max(1, len(items.positions)))  # of members
        losses = self.rows(
            logits[rows],
            positions[rows],
            items.vectors,
            items.log_q if self.corrected else None,
            **dict(self.settings),
        )
        return row_weights[rows], losses.unsqueeze(1)


class TaskLosses:
    """The losses of all tasks of a batch; element-wise losses of equal settings in one call.

    Args:
        tasks: the loss of each task, by name, in the order of the batch's label columns.
        through: how tasks behind others are trained, by name.
    """

    def __init__(
        self, tasks: Mapping[str, TaskLoss], through: Mapping[str, Through] | None = None
    ) -> None:
        self._through = dict(through or {})
        self.tasks = dict(tasks)
        self.names = tuple(tasks)
        self._of_items = [c for c, loss in enumerate(tasks.values()) if isinstance(loss, ItemLoss)]
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
        items: Mapping[str, Candidates] | None = None,
        conditional: Mapping[str, Tensor] | None = None,
        totals: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Losses and counts of all tasks.

        Args:
            logits: (B, o) by task.
            labels: (B, T), NaN where unlabelled.
            weights: (B,) row weights.
            items: those that compete, by retrieval task.
            conditional: of tasks behind others, see `Funnel.conditional`; without it their losses
                are those of the joint label, as in evaluation.
            totals: of `totals`, of more rows than these: the losses are these rows' part of the
                mean over all of them. None: of these.

        Returns:
            (T,) losses and (T,) numbers of rows that count, as in `TaskLoss`.
        """
        columns = labels.unbind(1)
        if len(self._groups) == 1 and not self._through and len(columns) > 1:
            every = _joined([logits[name] for name in self.names])
            total = None if totals is None else totals[0]
            return self._groups[0][0].stacked(every, labels, weights, total=total)
        losses: dict[int, Tensor] = {}
        counts: dict[int, Tensor] = {}
        for loss, group in self._groups:
            stacked, counted = loss.stacked(
                _joined([logits[self.names[task]] for task in group]),
                torch.stack([columns[task] for task in group], 1),
                weights,
                (items or {}).get(self.names[group[0]]),
                None if totals is None else totals[0, group],
            )
            losses.update(zip(group, stacked.unbind(0), strict=True))
            counts.update(zip(group, counted.unbind(0), strict=True))
        for task, given in (conditional or {}).items():
            column = self.names.index(task)
            pair = losses[column], counts[column]
            losses[column], counts[column] = self._behind(
                task, pair, given, logits, columns, weights, None if totals is None else totals[1]
            )
        order = range(len(self.names))
        return torch.stack([losses[t] for t in order]), torch.stack([counts[t] for t in order])

    def _behind(
        self,
        task: str,
        joint: tuple[Tensor, Tensor],
        given: Tensor,
        logits: Mapping[str, Tensor],
        columns: Sequence[Tensor],
        weights: Tensor,
        totals: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Loss and count of a task behind another one, from those of its joint label."""
        how = self._through[task]
        total = None if totals is None else totals[self.names.index(task)]
        labels, parent = (columns[self.names.index(name)] for name in (task, how.parent))
        loss, count = joint
        if not how.entire_space:
            loss = loss.new_zeros(())
            if how.method == "none":
                observed = torch.where(parent == 1, labels, torch.nan)
                return self.tasks[task](given, observed, weights, total=total)
        if how.method != "none":
            term = counterfactual(
                given,
                logits[how.parent],
                parent,
                labels,
                weights,
                clip=how.clip,
                method=how.method,
                total=total,
            )
            loss = loss + how.weight * term
        return loss, count

    def masses(self, labels: Tensor, weights: Tensor) -> Tensor:
        """(T,) float64: the weight of the rows that each task's loss is a mean over.

        Args:
            labels: (B, T), NaN where unlabelled.
            weights: (B,) row weights.
        """
        counts = labels == labels  # false for NaN
        for column in self._of_items:
            counts[:, column] &= labels[:, column] != 0
        return weights.double() @ counts.double()

    def totals(self, labels: Tensor, weights: Tensor) -> Tensor:
        """(2, T) float64: the weight that each loss, and each term of its condition, is divided by.

        Args:
            labels: (B, T), NaN where unlabelled.
            weights: (B,) row weights.
        """
        columns = dict(zip(self.names, torch.split(labels, 1, 1), strict=True))
        own = {n: t.row_weights(columns[n], weights).double().sum() for n, t in self.tasks.items()}
        behind = dict(own)
        for task, how in self._through.items():
            if how.method == "none":
                observed = torch.where(columns[how.parent] == 1, columns[task], torch.nan)
                row_weights = self.tasks[task].row_weights(observed, weights)
            else:
                row_weights = torch.where(columns[task].isnan(), 0, weights.unsqueeze(1))
            behind[task] = row_weights.double().sum()
        return torch.stack([*own.values(), *behind.values()]).view(2, -1)


def _joined(outputs: Sequence[Tensor]) -> Tensor:
    """(B, o) outputs of tasks next to each other."""
    return outputs[0] if len(outputs) == 1 else torch.cat(list(outputs), 1)
