"""Embedding tables that update themselves inside backward: the base of both backends.

Shapes: B rows, P sum of all widths.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from recsys_mtl.columns.spec import TableSpec
from recsys_mtl.features.block import Bag

TableOptimizer = Literal["sgd", "adagrad", "rowwise_adagrad"]
INITIAL_STD = 0.01
ADAGRAD_EPS = 1e-8


def table_name(feature: str) -> str:
    """Name of a feature's table; module names may not hold a dot, so it becomes `%2E`."""
    return "t_" + feature.replace(".", "%2E")


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
    """One table per feature, pooled to one vector per row and feature.

    The tables' optimizer is fused into backward: each backward through an output of `forward`
    updates every row that was read exactly once, with the sum of its gradients. Tables are never
    part of the dense optimizer. They stay float32 under autocast. Do not deep-copy a network:
    copy its `state_dict` instead.

    The weight decay is decoupled, of the rows that were read: `w ← (1 − rate · decay) · w`, then
    the update. It is fbgemm's mode DECOUPLE, computed here for both backends: fbgemm has it for
    row-wise Adagrad on GPUs only.

    Attributes:
        width: P.
        embedding_bags: holds `t_<feature>.weight` (rows, dim), in both backends.
    """

    embedding_bags: nn.ModuleDict

    def __init__(
        self,
        tables: Sequence[TableSpec],
        device: torch.device,
        *,
        learning_rate: float,
        weight_decay: float,
    ) -> None:
        super().__init__()
        self._learning_rate = learning_rate
        self._weight_decay = weight_decay
        self.tables = tuple(tables)
        self.device = device
        self.width = sum(table.dim for table in self.tables)
        self._averaged = [i for i, table in enumerate(self.tables) if table.pooling == "mean"]

    def forward(self, bags: Sequence[Bag], rows: int) -> Tensor:
        """Looks up table rows and pools them; an empty bag gives zeros.

        Args:
            bags: table rows of each table's feature, in the order of the tables.
            rows: B.

        Returns:
            (B, P) float32, the features in the order of the tables.
        """
        if not self.tables:
            return torch.zeros(rows, 0, device=self.device, requires_grad=torch.is_grad_enabled())
        with torch.autocast(self.device.type, enabled=False):
            pooled = self._sum(bags, rows)
            if self._weight_decay:
                before: Callable[..., Tensor] = _BeforeUpdate.apply
                pooled = before(pooled, lambda: self._decay(bags))
            return pooled * self._mean_factor(bags, rows) if self._averaged else pooled

    def _decay(self, bags: Sequence[Bag]) -> None:
        """Shrinks the rows that were read, each once: duplicates write the same value."""
        kept = 1 - self._learning_rate * self._weight_decay
        for weight, (ids, _) in zip(self.weights(), bags, strict=True):
            values = weight.data  # fbgemm's backward checks versions, which this leaves alone
            values.index_copy_(0, ids, values[ids] * kept)

    def _mean_factor(self, bags: Sequence[Bag], rows: int) -> Tensor:
        """(B, P): 1 / length for the columns of averaged bags, else 1."""
        factor = torch.ones(rows, len(self.tables), device=self.device)
        lengths = []
        for index in self._averaged:
            _, many = bags[index]
            assert many is not None
            lengths.append(many)
        factor[:, self._averaged] = torch.stack(lengths, 1).clamp_min(1).float().reciprocal()
        dims = torch.tensor([table.dim for table in self.tables], device=self.device)
        return factor.repeat_interleave(dims, dim=1, output_size=self.width)

    def initialise(self) -> None:
        """Weights from normal(0, 0.01) by torch's CPU generator: the same for both backends.

        Small values keep rows that are never trained (the unknown row) near zero; Adagrad's first
        steps move the others by about the learning rate.
        """
        with torch.no_grad():
            for weight in self.weights():
                weight.copy_(torch.randn(weight.shape, device="cpu") * INITIAL_STD)

    def weights(self) -> list[Tensor]:
        """The tables in the order of the specs."""
        return [
            self.embedding_bags.get_parameter(f"{table_name(t.name)}.weight") for t in self.tables
        ]

    @abstractmethod
    def _sum(self, bags: Sequence[Bag], rows: int) -> Tensor:
        """(B, P) sums over bags; backward through it updates the tables."""

    def set_learning_rate(self, learning_rate: float) -> None:
        """Sets the rate of the following updates."""
        self._learning_rate = learning_rate

    @abstractmethod
    def accumulators(self) -> dict[str, Tensor]:
        """Live optimizer state by table name: (rows, dim) adagrad, (rows,) row-wise, sgd none."""

    def optimizer_state(self) -> dict[str, Tensor]:
        """A copy of the optimizer state for a checkpoint; the same in both backends."""
        return {name: state.detach().clone() for name, state in self.accumulators().items()}

    def load_optimizer_state(self, state: Mapping[str, Tensor]) -> None:
        """Restores an `optimizer_state`.

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
