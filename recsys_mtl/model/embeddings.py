"""Embedding tables that update themselves inside backward: the base of both backends.

Shapes: B rows, P sum of the widths of what is pooled, N entries of a sequence, D width of a table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from recsys_mtl import parallel
from recsys_mtl.columns.spec import TableSpec, distinct_tables
from recsys_mtl.features.block import Bag
from recsys_mtl.model.replicated import Lookup, replicated

TableOptimizer = Literal["sgd", "adagrad", "rowwise_adagrad"]
INITIAL_STD = 0.01
ADAGRAD_EPS = 1e-8
_PIECE = 2**20  # values, a multiple of 16


def table_name(table: str) -> str:
    """Name of a table's module; module names may not hold a dot, so it becomes `%2E`."""
    return "t_" + table.replace(".", "%2E")


class _BeforeUpdate(torch.autograd.Function):
    """Pooled embeddings as they are; backward calls `act` before the tables update themselves."""

    @staticmethod
    def forward(ctx: Any, pooled: Tensor, act: Callable[[], None]) -> Tensor:
        """The same values."""
        ctx.act = act
        return pooled.view_as(pooled)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The same gradient."""
        ctx.act()
        return gradients[0], None


class Embeddings(nn.Module, ABC):
    """Tables that features read, pooled to one vector per row and feature.

    Several features may read one table. All that is read of a table is one look-up, so that its
    backward is one update. Entries of sequences are not pooled.

    The tables' optimizer is fused into backward: each backward through an output of `forward`
    updates every row that was read exactly once, with the sum of its gradients. Tables are never
    part of the dense optimizer. They stay float32 under autocast. Do not deep-copy a network:
    copy its `state_dict` instead.

    The weight decay is decoupled, of the rows that were read: `w ← (1 − rate · decay) · w`, then
    the update. It is fbgemm's mode DECOUPLE, computed here for both backends: fbgemm has it for
    row-wise Adagrad on GPUs only.

    Attributes:
        reads: what each feature reads of a table.
        tables: the first read of each table.
        width: P.
        embedding_bags: holds `t_<table>.weight` (rows, dim), in both backends.
        applied: () bool on the device: whether the next backward may change a row; None: it may.
        ranges: `t_<table>` -> the rows that each process has of a sharded table; see `sharded`.
    """

    embedding_bags: nn.ModuleDict

    def __init__(
        self,
        reads: Sequence[TableSpec],
        device: torch.device,
        *,
        learning_rate: float,
        weight_decay: float,
    ) -> None:
        super().__init__()
        self._learning_rate = learning_rate
        self._weight_decay = weight_decay
        self.ranges: dict[str, tuple[range, ...]] = {}
        self.applied: Tensor | None = None
        self.reads = tuple(reads)
        self.tables = distinct_tables(self.reads)
        self.device = device
        by_table = {t.key: [i for i, r in enumerate(reads) if r.key == t.key] for t in self.tables}
        self._sequences = [i for i, read in enumerate(reads) if read.pooling == "none"]
        self._pooled = [i for i, read in enumerate(reads) if read.pooling != "none"]
        apart = {reads[i].key for i in self._sequences}
        self._together = {key: at for key, at in by_table.items() if key not in apart}
        self._apart = {key: at for key, at in by_table.items() if key in apart}
        self.width = sum(reads[i].dim for i in self._pooled)
        self._averaged = [at for at, i in enumerate(self._pooled) if reads[i].pooling == "mean"]

    def forward(self, bags: Sequence[Bag], rows: int) -> Tensor:
        """Looks up table rows and pools them; an empty bag gives zeros.

        Args:
            bags: table rows of each read, in the order of `reads`.
            rows: B.

        Returns:
            (B, P) float32, what is pooled in the order of `reads`.
        """
        return self.with_sequences(bags, rows)[0]

    def with_sequences(self, bags: Sequence[Bag], rows: int) -> tuple[Tensor, list[Tensor]]:
        """The same, and (N, D) vectors of the entries of each sequence."""
        if not self.tables:
            empty = torch.zeros(rows, 0, device=self.device, requires_grad=torch.is_grad_enabled())
            return empty, []
        with torch.autocast(self.device.type, enabled=False):
            parts: dict[int, Tensor] = {}
            together = [i for reads in self._together.values() for i in reads]
            if together:
                sums = self._everywhere(self._sum_together, [bags[i] for i in together])
                if together == [*range(len(self.reads))]:
                    return self._averages(sums, bags, rows), []
                dims = [self.reads[i].dim for i in together]
                parts |= zip(together, torch.split(sums, dims, 1), strict=True)
            for key, reads in self._apart.items():
                own = [(bags[i][0], None) if i in self._sequences else bags[i] for i in reads]
                sums = self._everywhere(partial(self._sum_apart, key), [joined(own)])
                counts = [(ids if many is None else many).shape[0] for ids, many in own]
                parts |= zip(reads, torch.split(sums, counts), strict=True)
            pooled = [parts[i] for i in self._pooled]
            columns = torch.cat(pooled, 1) if pooled else torch.zeros(rows, 0, device=self.device)
            sequences = [parts[i] for i in self._sequences]
            return self._averages(columns, bags, rows), sequences

    def _everywhere(self, lookup: Lookup, bags: Sequence[Bag]) -> Tensor:
        """A look-up whose backward updates the tables of all processes."""
        return replicated(lookup, bags)

    def _sum_together(self, bags: Sequence[Bag]) -> Tensor:
        """(B, their width) of the bags of `_together`, in its order."""
        by_table, start = {}, 0
        for key, reads in self._together.items():
            by_table[key] = bags[start : start + len(reads)]
            start += len(reads)
        return self._decaying(self._sum(by_table), by_table)

    def _sum_apart(self, key: str, bags: Sequence[Bag]) -> Tensor:
        """(bags, D) of one table of `_apart`."""
        return self._decaying(self._entries(key, *bags[0]), {key: bags})

    def _decaying(self, sums: Tensor, bags: Mapping[str, Sequence[Bag]]) -> Tensor:
        """The sums of the bags of some tables; backward decays rows before it updates them."""
        if not self._weight_decay:
            return sums
        before: Callable[..., Tensor] = _BeforeUpdate.apply
        return before(sums, lambda: self._decay(bags))

    def _decay(self, bags: Mapping[str, Sequence[Bag]]) -> None:
        """Shrinks the rows that were read, each once: duplicates write the same value."""
        decay = self._learning_rate * self._weight_decay
        kept = 1 - (decay if self.applied is None else decay * self.applied)
        for key, of_table in bags.items():
            ids = torch.cat([ids for ids, _ in of_table])
            values = self._weight(key).data  # fbgemm's backward checks versions, which stay so
            values.index_copy_(0, ids, values[ids] * kept)

    def _averages(self, sums: Tensor, bags: Sequence[Bag], rows: int) -> Tensor:
        return sums * self._mean_factor(bags, rows) if self._averaged else sums

    def _mean_factor(self, bags: Sequence[Bag], rows: int) -> Tensor:
        """(B, P): 1 / length for the columns of averaged bags, else 1."""
        factor = torch.ones(rows, len(self._pooled), device=self.device)
        lengths = []
        for index in self._averaged:
            _, many = bags[self._pooled[index]]
            assert many is not None
            lengths.append(many)
        factor[:, self._averaged] = torch.stack(lengths, 1).clamp_min(1).float().reciprocal()
        dims = torch.tensor([self.reads[i].dim for i in self._pooled], device=self.device)
        return factor.repeat_interleave(dims, dim=1, output_size=self.width)

    def initialise(self) -> None:
        """Weights from normal(0, 0.01) by torch's CPU generator: the same for both backends.

        Small values keep rows that are never trained (the unknown row) near zero; Adagrad's first
        steps move the others by about the learning rate. A shard gets the values that its rows
        have in the complete table, which is nowhere in memory.
        """
        with torch.no_grad():
            for table, weight in zip(self.tables, self.weights(), strict=True):
                rows = self.ranges.get(table_name(table.key))
                first = rows[parallel.rank()].start if rows else 0
                flat, start = weight.view(-1), -first * table.dim
                for drawn in _normal(table.rows * table.dim):
                    own = flat[max(start, 0) : max(start + len(drawn), 0)]
                    own.copy_(drawn[max(-start, 0) :][: len(own)] * INITIAL_STD)
                    start += len(drawn)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, this process looks up by itself: the others are in `training.shards.on_first`."""
        yield

    def answer(self) -> None:
        """Take part in a look-up of the first process, with nothing of one's own."""

    def weights(self) -> list[Tensor]:
        """The tables in the order of the specs."""
        return [self._weight(table.key) for table in self.tables]

    def table(self, key: str) -> Tensor:
        """(rows, dim) of a table."""
        return self._weight(key)

    def _weight(self, key: str) -> Tensor:
        return self.embedding_bags.get_parameter(f"{table_name(key)}.weight")

    @abstractmethod
    def _sum(self, bags: Mapping[str, Sequence[Bag]]) -> Tensor:
        """(B, their width) sums over the bags of each table of `_together`; backward updates."""

    @abstractmethod
    def _entries(self, key: str, ids: Tensor, lengths: Tensor | None) -> Tensor:
        """(bags, D) sums over bags of one table of `_apart`; backward through it updates it."""

    def set_learning_rate(self, learning_rate: float) -> None:
        """Sets the rate of the following updates."""
        self._learning_rate = learning_rate

    @abstractmethod
    def accumulators(self) -> dict[str, Tensor]:
        """Live optimizer state by table name: (rows, dim) adagrad, (rows,) row-wise, sgd none."""

    def load_optimizer_state(self, state: Mapping[str, Tensor]) -> None:
        """Restores what `accumulators` gave.

        Raises:
            ValueError: other tables, or a table of another shape.
        """
        live = self.accumulators()
        shapes = {name: tuple(value.shape) for name, value in live.items()}
        given = {name: tuple(value.shape) for name, value in state.items()}
        if shapes != given:
            raise ValueError(f"optimizer state of the tables: expected {shapes}, found {given}")
        with torch.no_grad():
            for name, value in live.items():
                value.copy_(state[name])


def _normal(count: int) -> Iterator[Tensor]:
    """The values of one `torch.randn(count)`, in pieces.

    Torch draws 16 values at a time, and the last 16 once more where there are some left over.
    """
    while count:
        size = _PIECE if count >= _PIECE + 16 else count
        yield torch.randn(size, device="cpu")
        count -= size


def joined(bags: Sequence[Bag]) -> Bag:
    """The bags of several features, one after another; without lengths where each has one row."""
    if len(bags) == 1:
        return bags[0]
    ids = torch.cat([ids for ids, _ in bags])
    if all(lengths is None for _, lengths in bags):
        return ids, None
    lengths = [torch.ones_like(ids) if many is None else many for ids, many in bags]
    return ids, torch.cat(lengths)
