"""TorchRec's fused embedding tables; the only module that imports torchrec.

Importing this module takes seconds, so only this backend imports it.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from recsys_mtl.columns.spec import TableSpec
from recsys_mtl.features.block import Bag
from recsys_mtl.model.embeddings import ADAGRAD_EPS, Embeddings, TableOptimizer, table_name

with warnings.catch_warnings():
    # fbgemm: optional kernels that are absent, a module path that torchrec still uses
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    from torchrec.modules.embedding_configs import EmbeddingBagConfig, PoolingType
    from torchrec.modules.fused_embedding_modules import FusedEmbeddingBagCollection
    from torchrec.optim import RowWiseAdagrad
    from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

_OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {}),
    "adagrad": (torch.optim.Adagrad, {"eps": ADAGRAD_EPS}),
    "rowwise_adagrad": (RowWiseAdagrad, {"eps": ADAGRAD_EPS}),
}
# torchrec uses a renamed function: torch logs a warning on every start
logging.getLogger("torch.fx._symbolic_trace").addFilter(
    lambda record: not record.getMessage().startswith("is_fx_tracing will return true")
)


class TorchrecEmbeddings(Embeddings):
    """Tables in one `FusedEmbeddingBagCollection` on a CPU or a GPU; widths in steps of 4."""

    def __init__(
        self,
        tables: Sequence[TableSpec],
        optimizer: TableOptimizer,
        device: torch.device,
        *,
        learning_rate: float,
        weight_decay: float,
    ) -> None:
        super().__init__(tables, device, learning_rate=learning_rate, weight_decay=weight_decay)
        optimizer_type, settings = _OPTIMIZERS[optimizer]
        self._keys = [table.name for table in self.tables]
        collection = FusedEmbeddingBagCollection(
            tables=[
                EmbeddingBagConfig(
                    name=table_name(table.name),
                    embedding_dim=table.dim,
                    num_embeddings=table.rows,
                    feature_names=[table.name],
                    pooling=PoolingType.SUM,  # lists are averaged in the base class
                )
                for table in self.tables
            ],
            optimizer_type=optimizer_type,
            optimizer_kwargs={"lr": learning_rate, **settings},
            device=device,
        )
        # Only the weights are registered, under the names of plain tables; the
        # collection computes on the same memory.
        self.embedding_bags = collection.embedding_bags
        self._lookup = collection.forward
        self._optimizer = collection.fused_optimizer()

    def _sum(self, bags: Sequence[Bag], rows: int) -> Tensor:
        one_each = torch.ones(rows, dtype=torch.int64, device=self.device)
        features = KeyedJaggedTensor(
            keys=self._keys,
            values=torch.cat([ids for ids, _ in bags]),
            lengths=torch.cat([one_each if many is None else many for _, many in bags]),
            stride=rows,
        )
        pooled: Tensor = self._lookup(features).values()
        return pooled

    def set_learning_rate(self, learning_rate: float) -> None:
        """Sets the rate of the following updates."""
        super().set_learning_rate(learning_rate)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()  # a fused step only passes the rate to the kernels

    def accumulators(self) -> dict[str, Tensor]:
        """Live optimizer state by table name."""
        state = self._optimizer.state_dict()["state"]
        return {
            name.removesuffix(".weight"): next(iter(values.values()))
            for name, values in state.items()
            if values
        }
