"""TorchRec's fused embedding tables; only this module and `sharded` import torchrec.

Importing it takes seconds, so only this backend does.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recsys_mtl.columns.spec import TableSpec
from recsys_mtl.features.block import Bag
from recsys_mtl.model.embeddings import (
    ADAGRAD_EPS,
    Embeddings,
    TableOptimizer,
    joined,
    table_name,
)

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
    """Tables in one `FusedEmbeddingBagCollection` on a CPU or a GPU; widths in steps of 4.

    A table that sequences read has a collection of its own: its bags are not one a row.
    """

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
        self._collections: dict[str, Any] = {}
        together = {key: [reads[i].name for i in at] for key, at in self._together.items()}
        for name, features in (("", together), *((key, {key: [key]}) for key in self._apart)):
            if features:
                self._collections[name] = self._collection(features, optimizer)
        self._register()

    def _register(self) -> None:
        """Only the weights are registered, under the names of plain tables.

        The collections compute on the same memory.
        """
        modules = {n: m for c in self._collections.values() for n, m in c.embedding_bags.items()}
        names = [table_name(table.key) for table in self.tables]
        self.embedding_bags = nn.ModuleDict({name: modules[name] for name in names})

    def _collection(self, features: dict[str, list[str]], optimizer: TableOptimizer) -> Any:
        """Tables that are looked up together, each with the names of its features."""
        optimizer_type, settings = _OPTIMIZERS[optimizer]
        return FusedEmbeddingBagCollection(
            tables=self._configs(features),
            optimizer_type=optimizer_type,
            optimizer_kwargs={"lr": self._learning_rate, **settings},
            device=self.device,
        )

    def _configs(self, features: Mapping[str, list[str]]) -> list[EmbeddingBagConfig]:
        tables = {table.key: table for table in self.tables}
        return [
            EmbeddingBagConfig(
                name=table_name(key),
                embedding_dim=tables[key].dim,
                num_embeddings=tables[key].rows,
                feature_names=names,
                pooling=PoolingType.SUM,  # lists are averaged in the base class
            )
            for key, names in features.items()
        ]

    def _sum(self, bags: Mapping[str, Sequence[Bag]]) -> Tensor:
        keys = [self.reads[i].name for reads in self._together.values() for i in reads]
        every = [bag for of_table in bags.values() for bag in of_table]
        ids, lengths = every[0]
        return self._looked_up("", keys, joined(every), len(ids if lengths is None else lengths))

    def _entries(self, key: str, ids: Tensor, lengths: Tensor | None) -> Tensor:
        return self._looked_up(key, [key], (ids, lengths), len(ids if lengths is None else lengths))

    def _looked_up(self, collection: str, keys: list[str], bags: Bag, stride: int) -> Tensor:
        ids, lengths = bags
        lengths = torch.ones_like(ids) if lengths is None else lengths
        features = KeyedJaggedTensor(keys=keys, values=ids, lengths=lengths, stride=stride)
        pooled: Tensor = self._collections[collection](features).values()
        return pooled

    def set_learning_rate(self, learning_rate: float) -> None:
        """Sets the rate of the following updates."""
        super().set_learning_rate(learning_rate)
        for optimizer in self._optimizers():
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()  # a fused step only passes the rate to the kernels

    def _optimizers(self) -> Iterable[Any]:
        """Of each collection."""
        return [collection.fused_optimizer() for collection in self._collections.values()]

    def accumulators(self) -> dict[str, Tensor]:
        """Live optimizer state by table name."""
        state = {
            name.removesuffix(".weight"): next(iter(values.values()))
            for optimizer in self._optimizers()
            for name, values in optimizer.state_dict()["state"].items()
            if values
        }
        return {name: state[name] for name in self.embedding_bags if name in state}
