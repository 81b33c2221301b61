"""The backend of the embedding tables: TorchRec's fused ones, or plain PyTorch.

Both have the same names and the same numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

import torch

from recsys_mtl import parallel
from recsys_mtl.columns.spec import TableSpec, distinct_tables
from recsys_mtl.errors import wrong
from recsys_mtl.memory import REPLICATED_BYTES, in_bytes
from recsys_mtl.model.embeddings import Embeddings, TableOptimizer
from recsys_mtl.model.embeddings_plain import FEW_VALUES, PlainEmbeddings

Backend = Literal["auto", "torchrec", "plain"]
Sharding = Literal["auto", "replicated", "table", "row"]

_log = logging.getLogger(__name__)


def make_embeddings(
    reads: Sequence[TableSpec],
    *,
    backend: Backend = "auto",
    optimizer: TableOptimizer = "rowwise_adagrad",
    learning_rate: float = 0.02,
    weight_decay: float = 0.0,
    sharding: Sharding = "replicated",
    device: torch.device | str = "cpu",
) -> Embeddings:
    """Embeddings of the requested backend; the same seed gives the same weights in both.

    `auto` is plain for at most `FEW_VALUES` weights on a CPU, where it is about as fast (slower for
    sequences in large batches) and TorchRec's import takes as long as hundreds of steps; else it is
    TorchRec, or plain with a log line if TorchRec does not import or does not support a width.

    With several processes, `sharding` spreads the tables over them; `auto` does, by TorchRec's
    plan, where they are larger than `REPLICATED_BYTES` in all.

    Raises:
        UserError: backend `torchrec` is not available, which sharding needs too.
    """
    device = torch.device(device)
    spread = parallel.several() and sharding not in ("auto", "replicated")
    few = device.type == "cpu" and _weights(reads) <= FEW_VALUES and not spread
    backend = "plain" if backend == "auto" and few else backend
    settings = {"learning_rate": learning_rate, "weight_decay": weight_decay}
    obstacle = "backend: plain" if backend == "plain" else _torchrec_obstacle(reads)
    shards = _shards(sharding, reads, obstacle)
    if obstacle and (backend == "torchrec" or shards is not None):
        raise wrong(
            "TorchRec's tables cannot be used",
            where="model.embedding.backend" if shards is None else "training.tables.sharding",
            expected="torchrec and fbgemm that import, and widths that are multiples of 4",
            found=obstacle,
            fix="use backend: plain, or see `recsys-mtl doctor`"
            if shards is None
            else "correct that, or use sharding: replicated",
        )
    if obstacle and backend != "plain":
        _log.info("plain embedding tables instead of TorchRec's: %s", obstacle)
    embeddings: Embeddings
    with torch.random.fork_rng(devices=[]):  # TorchRec draws weights that are replaced
        if obstacle or not reads:
            embeddings = PlainEmbeddings(reads, optimizer, device, **settings)
        elif shards is None:
            from recsys_mtl.model.embeddings_torchrec import TorchrecEmbeddings

            embeddings = TorchrecEmbeddings(reads, optimizer, device, **settings)
        else:
            from recsys_mtl.model.sharded import ShardedEmbeddings

            embeddings = ShardedEmbeddings(reads, optimizer, device, sharding=shards, **settings)
    embeddings.initialise()
    return embeddings


def _shards(
    sharding: Sharding, reads: Sequence[TableSpec], obstacle: str
) -> Literal["table", "row", "plan"] | None:
    """How tables are spread over the processes; None: every process has all."""
    if not parallel.several() or not reads or sharding == "replicated":
        return None
    if sharding != "auto":
        return sharding
    size = _weights(reads) * 4
    if size <= REPLICATED_BYTES:
        return None
    if obstacle:
        _log.warning("every process has all %s of tables: %s", in_bytes(size), obstacle)
        return None
    return "plan"


def _weights(reads: Sequence[TableSpec]) -> int:
    return sum(table.rows * table.dim for table in distinct_tables(reads))


def _torchrec_obstacle(reads: Sequence[TableSpec]) -> str:
    """Why TorchRec's tables cannot be used; empty if they can."""
    unsupported = [f"{read.name} ({read.dim})" for read in reads if read.dim % 4]
    if unsupported:
        return f"width not a multiple of 4: {', '.join(unsupported)}"
    try:
        import recsys_mtl.model.embeddings_torchrec  # noqa: F401
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return f"torchrec does not import: {error}"
    return ""
