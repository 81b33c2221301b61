"""Embedding tables in plain PyTorch, with the optimizer fused into backward as in fbgemm.

Shapes: N entries that are looked up, R rows of a table, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recsys_mtl.columns.spec import TableSpec
from recsys_mtl.features.block import Bag
from recsys_mtl.model.embeddings import (
    ADAGRAD_EPS,
    Embeddings,
    TableOptimizer,
    joined,
    table_name,
)

FEW_VALUES = 2**18
"""Of the tables of a width: to update all their rows takes less time than to find those that were
read, where there are at most `_ROWS_AN_ENTRY` of them for each entry that was."""
_ROWS_AN_ENTRY = 8


class _Table(nn.Module):
    """A table and its optimizer's state, which stays out of the `state_dict` as in TorchRec."""

    accumulator: Tensor | None

    def __init__(self, weight: Tensor, accumulator: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.register_buffer("accumulator", accumulator, persistent=False)


class _SameWidth:
    """All tables of one width in one block of memory, of which the tables are views.

    A look-up and an update are then a few operations, however many tables there are, and none of
    them waits for a GPU.

    Args:
        tables: of one width.
        optimizer: of all of them.
        device: of the memory.

    Attributes:
        tables: by key.
        starts: the first row of each in the block.
    """

    def __init__(
        self, tables: Sequence[TableSpec], optimizer: TableOptimizer, device: torch.device
    ) -> None:
        rows, dim = [table.rows for table in tables], tables[0].dim
        shapes = {"sgd": None, "adagrad": (sum(rows), dim), "rowwise_adagrad": (sum(rows),)}
        shape = shapes[optimizer]
        self._weight = torch.empty(sum(rows), dim, device=device)
        self._accumulator = None if shape is None else torch.zeros(shape, device=device)
        own = (
            [None] * len(rows)
            if self._accumulator is None
            else torch.split(self._accumulator, rows)
        )
        pairs = zip(torch.split(self._weight, rows), own, strict=True)
        keys = [table.key for table in tables]
        self.tables = {key: _Table(*pair) for key, pair in zip(keys, pairs, strict=True)}
        self.starts = dict(zip(keys, accumulate(rows, initial=0), strict=False))
        self._first = torch.tensor([*self.starts.values()], device=device)

    def columns(self, ids: Sequence[Tensor], update: Callable[..., None]) -> Tensor:
        """(B,) ids of each table, in their order, to (B, their width) on the graph."""
        return self._looked_up(torch.stack(list(ids), 1) + self._first, None, update).flatten(1)

    def sums(self, bags: Mapping[str, Bag], update: Callable[..., None]) -> Tensor:
        """(N,) ids of some tables to (N, D) rows, or with lengths to their sums, in order."""
        moved = [(ids + self.starts[key], lengths) for key, (ids, lengths) in bags.items()]
        return self._looked_up(*joined(moved), update)

    def _looked_up(
        self, ids: Tensor, lengths: Tensor | None, update: Callable[..., None]
    ) -> Tensor:
        if not torch.is_grad_enabled():
            return _sums(self._weight, ids, lengths)
        lookup: Callable[..., Tensor] = _FusedLookup.apply
        anchor = next(iter(self.tables.values())).weight
        return lookup(anchor, self._weight, ids, lengths, update)

    def update(self, ids: Tensor, gradient: Tensor, learning_rate: float) -> None:
        """One optimizer step on the rows `ids` (N,), gradients (N, D) summed per row first.

        SGD; Adagrad (Duchi et al. 2011): `h += g²; w -= rate · g / (√h + ε)`; row-wise Adagrad
        keeps one h a row and adds the mean of g². A gradient of 0 changes nothing, so that all
        rows are updated where they are not many more than entries.
        """
        if _all_at_once(len(self._weight), self._weight.shape[1], len(ids)):
            rows = None
            step = torch.zeros_like(self._weight).index_add_(0, ids, gradient)
        else:
            rows, step = _summed_by_row(ids, gradient)
        if self._accumulator is not None:
            square = step.square()
            if self._accumulator.dim() == 1:
                square = square.mean(1)
            _add(self._accumulator, rows, square)
            sums = self._accumulator if rows is None else self._accumulator[rows]
            root = sums.sqrt().add_(ADAGRAD_EPS)
            step = step / (root if root.dim() == 2 else root.unsqueeze(1))
        _add(self._weight, rows, step, alpha=-learning_rate)


def _all_at_once(rows: int, dim: int, entries: int) -> bool:
    return rows <= entries * (_ROWS_AN_ENTRY if rows * dim <= FEW_VALUES else 1)


def _add(values: Tensor, rows: Tensor | None, change: Tensor, alpha: float = 1.0) -> None:
    """Changes these rows, or all."""
    if rows is None:
        values.add_(change, alpha=alpha)
    else:
        values.index_add_(0, rows, change, alpha=alpha)


def _summed_by_row(ids: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows, and the sum of the gradients of each, padded to N.

    What pads is row 0 with a gradient of 0. The number of distinct rows stays unknown: to ask for
    it would wait for a GPU.
    """
    ordered, order = torch.sort(ids, stable=True)
    begins = torch.zeros_like(ordered)  # but the first, which counts as 0
    torch.ne(ordered[1:], ordered[:-1], out=begins[1:])
    index = begins.cumsum(0)
    rows = torch.zeros_like(ordered).scatter_(0, index, ordered)
    return rows, torch.zeros_like(gradient).index_add_(0, index, gradient[order])


def _sums(weight: Tensor, ids: Tensor, lengths: Tensor | None) -> Tensor:
    """Ids of any shape to their rows, or (N,) ids with (B,) lengths to (B, D) sums."""
    if lengths is None:
        return F.embedding(ids, weight)
    if not ids.numel():
        return weight.new_zeros(lengths.shape[0], weight.shape[1])
    return F.embedding_bag(ids, weight, lengths.cumsum(0) - lengths, mode="sum")


class _FusedLookup(torch.autograd.Function):
    """Sums of a table's rows; backward updates the table at the current rate.

    The anchor makes the result part of a graph; it never gets a `.grad`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        anchor: Tensor,
        weight: Tensor,
        ids: Tensor,
        lengths: Tensor | None,
        update: Callable[[Tensor, Tensor], None],
    ) -> Tensor:
        """See `_sums`."""
        ctx.save_for_backward(ids, lengths)
        ctx.update = update
        return _sums(weight, ids, lengths)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, None, None, None]:
        """Updates the rows that were read."""
        ids, lengths = ctx.saved_tensors
        (gradient,) = gradients
        if lengths is not None:
            gradient = gradient.repeat_interleave(lengths, 0, output_size=ids.numel())
        with torch.no_grad():
            ctx.update(ids.flatten(), gradient.reshape(ids.numel(), gradient.shape[-1]))
        return None, None, None, None, None


class PlainEmbeddings(Embeddings):
    """Tables as separate parameters; any width, any device of PyTorch."""

    def __init__(
        self,
        reads: Sequence[TableSpec],
        optimizer: TableOptimizer,
        device: torch.device,
        *,
        learning_rate: float,
        weight_decay: float,
    ) -> None:
        super().__init__(reads, device, learning_rate=learning_rate, weight_decay=weight_decay)
        widths: dict[int, list[TableSpec]] = {}
        for table in self.tables:
            widths.setdefault(table.dim, []).append(table)
        self._widths = {
            dim: _SameWidth(tables, optimizer, device) for dim, tables in widths.items()
        }
        made = {key: t for width in self._widths.values() for key, t in width.tables.items()}
        self.embedding_bags = nn.ModuleDict(
            {table_name(table.key): made[table.key] for table in self.tables}
        )

    def _sum(self, bags: Mapping[str, Sequence[Bag]]) -> Tensor:
        if torch.compiler.is_exporting():  # it has the tables themselves
            parts: list[Tensor] = []
            for key, of_table in bags.items():
                of_reads = self._entries(key, *joined(of_table))
                parts += of_reads.chunk(len(of_table)) if len(of_table) > 1 else [of_reads]
            return torch.cat(parts, 1)
        sums: dict[str, Tensor] = {}
        for width in self._widths.values():
            own = {key: bags[key] for key in width.tables if key in bags}
            if own:
                sums |= self._sums_of(width, own)
        return sums[""] if "" in sums else torch.cat([sums[key] for key in bags], 1)

    def _sums_of(self, width: _SameWidth, bags: Mapping[str, Sequence[Bag]]) -> dict[str, Tensor]:
        """(B, their width) by table; under "" where these are all tables, in their order."""
        ones = [of[0][0] for of in bags.values() if len(of) == 1 and of[0][1] is None]
        if len(ones) == len(width.tables):
            columns = width.columns(ones, self._update(width))
            if list(bags) == [table.key for table in self.tables]:
                return {"": columns}
            return dict(
                zip(bags, torch.split(columns, columns.shape[1] // len(bags), 1), strict=True)
            )
        together = {key: joined(of) for key, of in bags.items()}
        counts = [len(ids if many is None else many) for ids, many in together.values()]
        parts = torch.split(width.sums(together, self._update(width)), counts)
        return {
            key: _apart(part, len(of)) for part, (key, of) in zip(parts, bags.items(), strict=True)
        }

    def _entries(self, key: str, ids: Tensor, lengths: Tensor | None) -> Tensor:
        if torch.compiler.is_exporting():
            table = self.embedding_bags[table_name(key)]
            assert isinstance(table, _Table)
            return _sums(table.weight, ids, lengths)
        width = next(width for width in self._widths.values() if key in width.tables)
        return width.sums({key: (ids, lengths)}, self._update(width))

    def _update(self, width: _SameWidth) -> Callable[[Tensor, Tensor], None]:
        def update(ids: Tensor, gradient: Tensor) -> None:
            width.update(ids, gradient, self._learning_rate)

        return update

    def accumulators(self) -> dict[str, Tensor]:
        """Live optimizer state by table name."""
        tables = {n: t for n, t in self.embedding_bags.items() if isinstance(t, _Table)}
        return {name: t.accumulator for name, t in tables.items() if t.accumulator is not None}


def _apart(sums: Tensor, reads: int) -> Tensor:
    """(reads · B, D), read by read, to (B, reads · D)."""
    if reads == 1:
        return sums
    return torch.cat(sums.view(reads, -1, sums.shape[1]).unbind(0), 1)
