"""Embedding tables in plain PyTorch, with the optimizer fused into backward as in fbgemm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


class _Table(nn.Module):
    """A table and its optimizer's state, which stays out of the `state_dict` as in TorchRec."""

    accumulator: Tensor | None

    def __init__(self, table: TableSpec, optimizer: TableOptimizer, device: torch.device) -> None:
        super().__init__()
        shapes = {"sgd": None, "adagrad": (table.rows, table.dim), "rowwise_adagrad": (table.rows,)}
        shape = shapes[optimizer]
        self.weight = nn.Parameter(torch.empty(table.rows, table.dim, device=device))
        self.register_buffer(
            "accumulator",
            None if shape is None else torch.zeros(shape, device=device),
            persistent=False,
        )

    def update(self, ids: Tensor, gradient: Tensor, learning_rate: float) -> None:
        """One optimizer step on the rows `ids` (n,), gradients (n, dim) summed per row first.

        SGD; Adagrad (Duchi et al. 2011): `h += g²; w -= rate · g / (√h + ε)`; row-wise Adagrad
        keeps one h a row and adds the mean of g².
        """
        rows, inverse = torch.unique(ids, return_inverse=True)
        step = gradient.new_zeros(len(rows), gradient.shape[1]).index_add_(0, inverse, gradient)
        if self.accumulator is not None:
            square = step.square()
            if self.accumulator.dim() == 1:
                square = square.mean(1)
            self.accumulator.index_add_(0, rows, square)
            root = self.accumulator[rows].sqrt_().add_(ADAGRAD_EPS)
            step = step / (root if root.dim() == 2 else root.unsqueeze(1))
        with torch.no_grad():
            self.weight.index_add_(0, rows, step, alpha=-learning_rate)


class _FusedLookup(torch.autograd.Function):
    """Sums of a table's rows; backward updates the table at the current rate.

    The weight is an argument to make the result part of a graph; it never gets a `.grad`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        ids: Tensor,
        lengths: Tensor | None,
        update: Callable[[Tensor, Tensor], None],
    ) -> Tensor:
        """(n,) ids to (n, dim) rows, or with (B,) lengths to (B, dim) sums."""
        ctx.save_for_backward(ids, lengths)
        ctx.update = update
        return _sums(weight, ids, lengths)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, None, None]:
        """Updates the rows that were read."""
        ids, lengths = ctx.saved_tensors
        (gradient,) = gradients
        ctx.update(ids, gradient if lengths is None else gradient.repeat_interleave(lengths, 0))
        return None, None, None, None


def _sums(weight: Tensor, ids: Tensor, lengths: Tensor | None) -> Tensor:
    """(n,) ids to (n, dim) rows, or with (B,) lengths to (B, dim) sums."""
    if lengths is None:
        return F.embedding(ids, weight)
    if not ids.numel():
        return weight.new_zeros(lengths.shape[0], weight.shape[1])
    return F.embedding_bag(ids, weight, lengths.cumsum(0) - lengths, mode="sum")


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
        self.embedding_bags = nn.ModuleDict(
            {table_name(table.key): _Table(table, optimizer, device) for table in self.tables}
        )

    def _sum(self, bags: Mapping[str, Sequence[Bag]]) -> Tensor:
        parts: list[Tensor] = []
        for key, of_table in bags.items():
            sums = self._entries(key, *joined(of_table))
            parts += sums.chunk(len(of_table)) if len(of_table) > 1 else [sums]
        return torch.cat(parts, 1)

    def _entries(self, key: str, ids: Tensor, lengths: Tensor | None) -> Tensor:
        lookup: Callable[..., Tensor] = _FusedLookup.apply
        table = self.embedding_bags[table_name(key)]
        assert isinstance(table, _Table)
        if not torch.is_grad_enabled():
            return _sums(table.weight, ids, lengths)
        return lookup(table.weight, ids, lengths, self._updater(table))

    def _updater(self, table: _Table) -> Callable[[Tensor, Tensor], None]:
        def update(ids: Tensor, gradient: Tensor) -> None:
            table.update(ids, gradient, self._learning_rate)

        return update

    def _live_tables(self) -> dict[str, _Table]:
        return {n: t for n, t in self.embedding_bags.items() if isinstance(t, _Table)}

    def accumulators(self) -> dict[str, Tensor]:
        """Live optimizer state by table name."""
        tables = self._live_tables().items()
        return {name: t.accumulator for name, t in tables if t.accumulator is not None}
