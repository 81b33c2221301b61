"""The state of both optimizers as tensors by name, for a later warm start."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys_mtl.training.step import TrainingStep
from recsys_mtl.training.step_state import step_parts

_PARTS = ("tables", "optimizer")


def optimizer_tensors(step: TrainingStep) -> dict[str, Tensor]:
    """Copies of `tables.TABLE` accumulators and `optimizer.PARAMETER.MOMENT`, on the CPU."""
    parts = step_parts(step)
    return {
        f"{part}.{name}": tensor.detach().cpu().clone()
        for part in _PARTS
        for name, tensor in parts[part].tensors().items()
    }


def load_optimizer_tensors(
    step: TrainingStep, state: Mapping[str, Tensor], rows: Mapping[str, NDArray[np.int64]]
) -> None:
    """Take over the state of another training's optimizers, as far as shapes agree.

    A new row starts fresh, and so does what the state lacks, such as that of another table
    optimizer.

    Args:
        step: of the new network, before its first update.
        state: of `optimizer_tensors`.
        rows: weight -> the other training's row of each row of a table, -1 of new ones.
    """
    parts = step_parts(step)
    moments = {n.removeprefix("optimizer."): t for n, t in state.items() if n.startswith("opt")}
    parts["optimizer"].reserve(sorted({name.rpartition(".")[0] for name in moments}))
    live = {f"tables.{n}": t for n, t in parts["tables"].tensors().items()}
    live |= {f"optimizer.{n}": t for n, t in parts["optimizer"].tensors().items()}
    with torch.no_grad():
        for name, tensor in live.items():
            old, of_rows = state.get(name), rows.get(_weight_of(name))
            tensor.zero_()
            if old is None:
                continue
            if of_rows is not None and old.shape[1:] == tensor.shape[1:] and old.dim():
                copy_rows(tensor, old, of_rows)
            elif old.shape == tensor.shape:
                tensor.copy_(old)


def copy_rows(into: Tensor, source: Tensor, rows: NDArray[np.int64]) -> None:
    """Copy the rows that have a source; -1: none, the row stays."""
    known = torch.from_numpy(np.flatnonzero(rows >= 0))
    into[known.to(into.device)] = source[torch.from_numpy(rows)[known]].to(into)


def _weight_of(name: str) -> str:
    """The weight that a state belongs to."""
    part, _, rest = name.partition(".")
    if part == "tables":
        return f"embeddings.embedding_bags.{rest}.weight"
    return rest.removeprefix("network.").rpartition(".")[0]
