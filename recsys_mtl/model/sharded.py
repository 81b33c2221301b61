"""Tables whose rows are spread over processes, by TorchRec's DistributedModelParallel.

A process holds the weights and the optimizer state of its shards alone: complete tables
(`table`), or every table cut into one range of rows a process (`row`). Forward sends ids to the
process that holds their rows and gets sums of rows back; backward sends gradients the same way, and
is one fused update with the rows of all processes.

Shapes: B bags of this process, D width of a table.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recsys_mtl import parallel
from recsys_mtl.columns.spec import TableSpec
from recsys_mtl.errors import wrong
from recsys_mtl.features.block import Bag
from recsys_mtl.memory import total_memory
from recsys_mtl.model.embeddings import ADAGRAD_EPS, TableOptimizer, table_name
from recsys_mtl.model.embeddings_torchrec import TorchrecEmbeddings
from recsys_mtl.model.replicated import Lookup, of_all

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    from fbgemm_gpu.split_embedding_configs import EmbOptimType
    from torchrec.distributed import DistributedModelParallel
    from torchrec.distributed.comm_ops import set_gradient_division
    from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
    from torchrec.distributed.planner import (
        EmbeddingShardingPlanner,
        ParameterConstraints,
        Topology,
    )
    from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation
    from torchrec.distributed.planner.types import PlannerError
    from torchrec.distributed.sharding_plan import (
        construct_module_sharding_plan,
        row_wise,
        table_wise,
    )
    from torchrec.distributed.types import ShardingPlan
    from torchrec.modules.embedding_modules import EmbeddingBagCollection
    from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

Sharding = Literal["table", "row", "plan"]
"""`plan`: TorchRec's planner chooses between the others for every table."""

for name in ("reduce_scatter_tensor", "all_gather_into_tensor"):  # that torchrec still calls
    warnings.filterwarnings("ignore", f"`torch.distributed.{name}`", FutureWarning)
_log = logging.getLogger(__name__)
_OPTIMIZERS = {
    "sgd": EmbOptimType.EXACT_SGD,
    "adagrad": EmbOptimType.EXACT_ADAGRAD,
    "rowwise_adagrad": EmbOptimType.EXACT_ROWWISE_ADAGRAD,
}
_RESERVED = 0.6  # of the memory: the best epoch's weights as well, batches, dense layers


class ShardedEmbeddings(TorchrecEmbeddings):
    """Tables that `sharding` spreads over the processes; every method is a collective.

    `embedding_bags` holds this process' rows of each table, none where it has no shard, and so do
    `state_dict` and `accumulators`; `ranges` says which rows they are. Column-wise sharding is
    left out, as row-wise Adagrad would have a state for every part of a row, and so is
    `data_parallel`, whose tables the fused optimizer does not update.

    Raises:
        UserError: the tables do not fit into the processes.
    """

    def __init__(
        self,
        reads: Sequence[TableSpec],
        optimizer: TableOptimizer,
        device: torch.device,
        *,
        sharding: Sharding,
        learning_rate: float,
        weight_decay: float,
    ) -> None:
        self._sharding, self._optimizer, self._alone = sharding, optimizer, False
        set_gradient_division(False)  # gradients are summed; its default is their mean
        settings = {"learning_rate": learning_rate, "weight_decay": weight_decay}
        super().__init__(reads, optimizer, device, **settings)
        if parallel.rank() == 0:
            _log.info("tables over %d processes: %s", parallel.world(), self._described())

    def _register(self) -> None:
        shards = {
            name.split(".")[-2]: shard
            for collection in self._collections.values()
            for name, shard in collection.state_dict().items()
        }
        modules = {}
        for table in self.tables:
            name = table_name(table.key)
            shard, world = shards[name], parallel.world()
            ranges = [range(0)] * world
            for part in shard.metadata().shards_metadata:
                first = part.shard_offsets[0]
                ranges[part.placement.rank()] = range(first, first + part.shard_sizes[0])
            self.ranges[name] = tuple(ranges)
            own = [part.tensor for part in shard.local_shards()]
            weight = own[0] if own else torch.empty(0, table.dim, device=self.device)
            modules[name] = nn.Module()
            modules[name].weight = nn.Parameter(weight.detach())
        self.embedding_bags = nn.ModuleDict(modules)

    def _collection(self, features: dict[str, list[str]], optimizer: TableOptimizer) -> Any:
        tables = EmbeddingBagCollection(self._configs(features), device=torch.device("meta"))
        settings = {
            "optimizer": _OPTIMIZERS[optimizer],
            "learning_rate": self._learning_rate,
            "eps": ADAGRAD_EPS,
        }
        sharder = _Sharder(fused_params=settings)
        own = parallel.together(lambda: self._owners(tables, sharder))
        how = {
            name: row_wise(compute_kernel="fused")
            if owner is None
            else table_wise(rank=owner, compute_kernel="fused")
            for name, owner in parallel.broadcast(own).items()
        }
        plan = construct_module_sharding_plan(
            tables, how, sharder, parallel.local_world(), parallel.world(), self.device.type
        )
        return DistributedModelParallel(
            tables, device=self.device, plan=ShardingPlan({"": plan}), sharders=[sharder]
        )

    def _owners(
        self, tables: EmbeddingBagCollection, sharder: EmbeddingBagCollectionSharder
    ) -> dict[str, int | None]:
        """The process that gets each table, None: all get rows; by the first process alone.

        Plans depend on the order of a set, which is another one in every process.

        Raises:
            UserError: no plan fits.
        """
        names = [config.name for config in tables.embedding_bag_configs()]
        if self._sharding == "row":
            return dict.fromkeys(names)
        types = ["table_wise"] if self._sharding == "table" else ["table_wise", "row_wise"]
        constraint = ParameterConstraints(sharding_types=types, compute_kernels=["fused"])
        topology = _topology(self.device)
        if parallel.rank():
            return {}
        with _quiet():
            planner = EmbeddingShardingPlanner(
                topology=topology,
                constraints=dict.fromkeys(names, constraint),
                storage_reservation=FixedPercentageStorageReservation(_RESERVED),
            )
            try:
                plan = planner.plan(tables, [sharder]).plan[""]
            except PlannerError as error:
                raise wrong(
                    "the tables do not fit into the memory of the processes",
                    where="training.tables.sharding",
                    found=str(error).strip().splitlines()[0],
                    fix="start more processes, or give the tables fewer rows",
                ) from error
        return {n: p.ranks[0] if p.sharding_type == "table_wise" else None for n, p in plan.items()}

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, the others answer the look-ups of this process."""
        self._alone = True
        try:
            yield
        finally:
            self._alone = False

    @torch.no_grad()
    def answer(self) -> None:
        """Take part in a look-up of the first process, with nothing of one's own."""
        ids = torch.empty(0, dtype=torch.int64, device=self.device)
        lengths = {"none": None}
        self.with_sequences([(ids, lengths.get(read.pooling, ids)) for read in self.reads], 0)

    def with_sequences(self, bags: Sequence[Bag], rows: int) -> tuple[Tensor, list[Tensor]]:
        """See `Embeddings`; the first process asks the others to answer, where it is alone."""
        if self._alone:
            parallel.broadcast([])
        return super().with_sequences(bags, rows)

    def _everywhere(self, lookup: Lookup, bags: Sequence[Bag]) -> Tensor:
        return lookup(bags)

    def _looked_up(self, collection: str, keys: list[str], bags: Bag, stride: int) -> Tensor:
        """(B, their width); gloo needs as many bags in every process, so empty ones are added."""
        ids, lengths = bags
        lengths = torch.ones_like(ids) if lengths is None else lengths
        every = max(1, parallel.largest(stride))
        lengths = F.pad(lengths.view(len(keys), stride), (0, every - stride)).flatten()
        features = KeyedJaggedTensor(keys=keys, values=ids, lengths=lengths, stride=every)
        pooled = self._collections[collection](features).to_dict()  # in the order of the plan
        return torch.cat([pooled[key][:stride] for key in keys], 1)

    def _decay(self, bags: Mapping[str, Sequence[Bag]]) -> None:
        """Shrinks this process' rows among those that all processes read."""
        every = iter(of_all([bag for of_table in bags.values() for bag in of_table]))
        own = {}
        for key, of_table in bags.items():
            rows = self.ranges[table_name(key)][parallel.rank()]
            ids = torch.cat([next(every)[0] for _ in of_table])
            own[key] = [(ids[(ids >= rows.start) & (ids < rows.stop)] - rows.start, None)]
        super()._decay(own)

    def _optimizers(self) -> Iterable[Any]:
        return [collection.fused_optimizer for collection in self._collections.values()]

    def accumulators(self) -> dict[str, Tensor]:
        """Live optimizer state of this process' rows by table name."""
        if self._optimizer == "sgd":
            return {}
        row_wise = self._optimizer == "rowwise_adagrad"
        live = {
            table_name(table.key): torch.empty(
                (0,) if row_wise else (0, table.dim), device=self.device
            )
            for table in self.tables
        }
        for optimizer in self._optimizers():
            for name, values in optimizer.state_dict()["state"].items():
                shards = [s for state in values.values() for s in state.local_shards()]
                live.update({name.split(".")[-2]: shard.tensor for shard in shards})
        return live

    def _described(self) -> str:
        """`city rows 0-9 on process 0, …` in short."""
        parts = []
        for table in self.tables:
            owners = [i for i, rows in enumerate(self.ranges[table_name(table.key)]) if rows]
            parts.append(
                f"{table.key} on {owners[0]}" if len(owners) == 1 else f"{table.key} by row"
            )
        return ", ".join(parts)


class _Sharder(EmbeddingBagCollectionSharder):  # type: ignore[misc]  # untyped
    """TorchRec offers rows to GPUs alone, though they work on CPUs."""

    def sharding_types(self, compute_device_type: str) -> list[str]:
        """Those that the fused optimizer updates as one process would."""
        return ["table_wise", "row_wise"]


def _topology(device: torch.device) -> Topology:
    """What the planner knows of the machines: memory is that of the smallest process."""
    local = parallel.local_world()
    own = total_memory() or 2**40
    memory = -parallel.largest(-(own // local))
    graphics = {}
    if device.type == "cuda":
        own = torch.cuda.get_device_properties(device).total_memory
        graphics = {"hbm_cap": -parallel.largest(-own)}
    with _quiet():
        return Topology(
            world_size=parallel.world(),
            compute_device=device.type,
            local_world_size=local,
            ddr_cap=memory,
            **graphics,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the planner's warnings, which are about its own defaults."""
    logger = logging.getLogger("torchrec.distributed.planner")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
