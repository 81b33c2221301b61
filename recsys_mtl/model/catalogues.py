"""The items of the tasks that retrieve them: vectors of their own, or rows of a shared table.

Shapes: B rows, I items of a task (item 0 stands for unknown ones), D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.data.batch import Batch
from recsys_mtl.features.block import Bag
from recsys_mtl.losses import Candidates
from recsys_mtl.model.embeddings import Embeddings

_FIRST_SHARED = 1  # row of a shared table that is item 0


class Catalogues:
    """The catalogue of every task that retrieves items.

    Args:
        tasks: all tasks; others are left out.
        embeddings: the tables of the features.
        device: of vectors of their own.

    Attributes:
        own: (I, D) of each task with vectors of its own, by `item_key`; about unit rows.
        width: of what tasks read of shared tables.
    """

    def __init__(
        self, tasks: Sequence[TaskSpec], embeddings: Embeddings, device: torch.device | str
    ) -> None:
        self._tasks = {task.name: (i, task) for i, task in enumerate(tasks) if task.items}
        self._reads = [task.read for task in tasks if task.read]
        self.width = sum(read.dim for read in self._reads)
        self._embeddings = embeddings
        self.own = nn.ParameterDict(
            {
                item_key(name): nn.Parameter(_about_unit(task.items, task.outputs).to(device))
                for name, (_, task) in self._tasks.items()
                if not task.table
            }
        )
        self._shares = {
            name: _shares(task).to(device)
            for name, (_, task) in self._tasks.items()
            if len(task.frequencies)
        }

    def table(self, task: str) -> Tensor:
        """(I, D) vectors of a task's items, not normalised."""
        shared = self._tasks[task][1].table
        if not shared:
            own: Tensor = self.own[item_key(task)]
            return own
        return self._embeddings.table(shared)[_FIRST_SHARED:]

    def bags(self, batch: Batch) -> list[Bag]:
        """The rows of shared tables that hold the items of a batch; none of unlabelled rows."""
        bags: list[Bag] = []
        for column, task in self._tasks.values():
            if not task.table:
                continue
            if batch.labels.shape[1]:
                index = batch.items(column, task.name)
                known = index > 0
                bags.append((index[known] + _FIRST_SHARED, known.long()))
            else:  # an exported program
                device = batch.weights.device
                empty = torch.zeros(batch.num_rows, dtype=torch.int64, device=device)
                bags.append((empty[:0], empty))
        return bags

    def candidates(self, read: Tensor, batch: Batch) -> dict[str, Candidates]:
        """The items that compete in a batch.

        Args:
            read: (B, `width`) the items of the rows in shared tables; unused without any.
            batch: the rows.
        """
        parts = iter(torch.split(read, [r.dim for r in self._reads], 1) if self._reads else ())
        made: dict[str, Candidates] = {}
        for name, (column, task) in self._tasks.items():
            index, shares = batch.items(column, name), self._shares.get(name)
            if task.table:
                made[name] = Candidates.read(index, next(parts), shares)
            else:
                made[name] = Candidates.of(index, self.table(name), shares)
        return made


def item_key(task: str) -> str:
    """Parameter names may not hold a dot."""
    return "i_" + task.replace(".", "%2E")


def _about_unit(items: int, dim: int) -> Tensor:
    vectors: Tensor = torch.randn(items, dim) * dim**-0.5
    return vectors


def _shares(task: TaskSpec) -> Tensor:
    """(I,) of the labelled training rows that have each item; one row of those that none has."""
    rows = torch.tensor([1, *task.frequencies], dtype=torch.float64).clamp_min(1)
    rows = torch.cat([rows, rows.new_ones(max(0, task.items - len(rows)))])
    shares: Tensor = (rows[: task.items] / sum(task.frequencies)).float()
    return shares
