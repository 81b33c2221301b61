"""What a training needs of a process: memory, and bytes that it sends to others in a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from recsys_mtl.data.batch import Batch
from recsys_mtl.memory import LARGEST_IN_MEMORY
from recsys_mtl.model.network import MultiTaskNetwork

Placement = Literal["replicated", "table", "row"]
"""All tables in every process; each table in one of them; the rows of each over all of them."""

_NUMBER = 4  # float32
_ID = 8  # int64


@dataclass(frozen=True)
class Sizing:
    """The numbers that memory and network follow from; docs/scaling.md has the formulas.

    Attributes:
        dense: weights outside of the tables.
        tables: weights of the tables.
        states: numbers of the tables' optimizer.
        looked_up: numbers that a row looks up in the tables, or a mean over rows.
        ids: ids and lengths by which it does.
        batch_size: rows of a step, of all processes.
        combined: numbers of the tasks' gradients that a combiner sums over processes; 0: none.
    """

    dense: int
    tables: int
    states: int
    looked_up: float
    ids: float
    batch_size: int
    combined: int = 0

    @classmethod
    def of(
        cls, network: MultiTaskNetwork, rows: Batch, *, batch_size: int, combined: int = 0
    ) -> Self:
        """Of a network and rows as those that it will be trained on."""
        embeddings, looked_up, ids = network.embeddings, 0, 0
        for read, (values, lengths) in zip(embeddings.reads, network.bags(rows), strict=True):
            ids += len(values) + (0 if lengths is None else len(lengths))
            looked_up += read.dim * (len(values) if read.pooling == "none" else rows.num_rows)
        return cls(
            dense=sum(p.numel() for p in network.dense_parameters()),
            tables=sum(weight.numel() for weight in embeddings.weights()),
            states=sum(state.numel() for state in embeddings.accumulators().values()),
            looked_up=looked_up / rows.num_rows,
            ids=ids / rows.num_rows,
            batch_size=batch_size,
            combined=combined,
        )

    def memory(self, processes: int = 1, placement: Placement = "replicated") -> int:
        """Bytes of a process: weights, those of the best epoch, gradients, optimizers' states.

        The best epoch's are in a file where they are large, see `training.best`. Tables that are
        not replicated are taken to be spread evenly.
        """
        parts = 1 if placement == "replicated" else processes
        weights = self.dense + self.tables // parts
        best = weights if _NUMBER * weights <= LARGEST_IN_MEMORY else 0
        learned = 3 * self.dense + self.states // parts  # a gradient, two moments
        return _NUMBER * (weights + best + learned)

    def sent(self, processes: int, placement: Placement = "replicated") -> int:
        """Bytes that a process sends in a step, by ring algorithms; it receives as many."""
        others = processes - 1
        own = self.batch_size / processes
        summed = 2 * others / processes * _NUMBER * (self.dense + self.combined)
        numbers, ids = own * _NUMBER * self.looked_up, own * _ID * self.ids
        if placement == "replicated":
            tables = others * (numbers + ids)
        else:  # forth and back: sums of a table's rows, or of the rows that a process has
            parts = processes if placement == "row" else 1
            tables = others / processes * (2 * parts * numbers + ids)
        return round(summed + tables)

    def epoch(
        self,
        rows: int,
        *,
        speed: float,
        bandwidth: float,
        processes: int = 1,
        placement: Placement = "replicated",
    ) -> float:
        """Seconds of an epoch, where a step computes first and sends then.

        Args:
            rows: of an epoch.
            speed: rows that one process trains in a second.
            bandwidth: bytes that a process sends in a second.
            processes: how many.
            placement: of the tables.
        """
        steps = rows / self.batch_size
        return rows / speed / processes + steps * self.sent(processes, placement) / bandwidth
