"""The backend of the embedding tables: TorchRec's fused ones, or plain PyTorch.

Both have the same names and the same numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

import torch

from recsys_mtl.columns.spec import TableSpec
from recsys_mtl.errors import wrong
from recsys_mtl.model.embeddings import Embeddings, TableOptimizer
from recsys_mtl.model.embeddings_plain import PlainEmbeddings

Backend = Literal["auto", "torchrec", "plain"]

_log = logging.getLogger(__name__)


def make_embeddings(
    reads: Sequence[TableSpec],
    *,
    backend: Backend = "auto",
    optimizer: TableOptimizer = "rowwise_adagrad",
    learning_rate: float = 0.02,
    weight_decay: float = 0.0,
    device: torch.device | str = "cpu",
) -> Embeddings:
    """Embeddings of the requested backend; the same seed gives the same weights in both.

    `auto` is TorchRec, or plain tables with a log line if TorchRec does not import or does not
    support a width.

    Raises:
        UserError: backend `torchrec` is not available.
    """
    device = torch.device(device)
    settings = {"learning_rate": learning_rate, "weight_decay": weight_decay}
    obstacle = "" if backend == "plain" else _torchrec_obstacle(reads)
    if backend == "torchrec" and obstacle:
        raise wrong(
            "TorchRec's tables cannot be used",
            where="model.embedding.backend",
            expected="torchrec and fbgemm that import, and widths that are multiples of 4",
            found=obstacle,
            fix="use backend: plain, or see `recsys-mtl doctor`",
        )
    if obstacle:
        _log.info("plain embedding tables instead of TorchRec's: %s", obstacle)
    embeddings: Embeddings
    if backend == "plain" or obstacle or not reads:
        embeddings = PlainEmbeddings(reads, optimizer, device, **settings)
    else:
        from recsys_mtl.model.embeddings_torchrec import TorchrecEmbeddings

        with torch.random.fork_rng(devices=[]):  # it draws weights that are replaced
            embeddings = TorchrecEmbeddings(reads, optimizer, device, **settings)
    embeddings.initialise()
    return embeddings


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
