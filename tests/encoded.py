"""Encoded rows and their specs, made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recsys_mtl.columns.spec import DataSpec, FeatureSpec, TableSpec, TaskSpec
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.loader import Loader
from recsys_mtl.features.block import Ids, Lists, Numbers


def data_spec(
    *,
    numeric: int = 0,
    tables: Sequence[TableSpec] = (),
    lists: Sequence[TableSpec] = (),
    tasks: Sequence[TaskSpec],
) -> DataSpec:
    """A numeric feature "x" of so many columns, and a feature for each table."""
    features = [FeatureSpec("x", "numeric", numeric)] if numeric else []
    features += [FeatureSpec(t.name, "categorical", tables=(t,)) for t in tables]
    features += [FeatureSpec(t.name, "categorical_list", tables=(t,)) for t in lists]
    return DataSpec(tuple(features), tuple(tasks))


def encoded(
    spec: DataSpec,
    *,
    numeric: Tensor | None = None,
    ids: Tensor | None = None,
    lists: Sequence[Tensor] = (),
    lengths: Tensor | None = None,
    labels: Tensor,
    weights: Tensor | None = None,
) -> Batch:
    """Rows of a `data_spec`: (B, N) numbers, (B, C) ids, M lists' values and (B, M) lengths."""
    rows = len(labels)
    widths = {f.name: f.width for f in spec.features if f.kind == "numeric"}
    singles = {f.name: 1 for f in spec.features if f.kind == "categorical"}
    names = [f.name for f in spec.features if f.kind == "categorical_list"]
    nothing = torch.zeros(rows, 0, dtype=torch.int64)
    blocks = (
        Numbers(torch.zeros(rows, 0) if numeric is None else numeric, widths),
        Ids(nothing if ids is None else ids, singles),
        Lists(dict(zip(names, lists, strict=True)), nothing if lengths is None else lengths),
    )
    return Batch(
        {block.layout: block for block in blocks},
        labels=labels,
        weights=torch.ones(rows) if weights is None else weights,
    )


NUMBERED = data_spec(
    numeric=1,
    tables=(TableSpec("city", 99, 4), TableSpec("user", 99, 4)),
    lists=(TableSpec("seen", 99, 4),),
    tasks=(),
)


def numbered(number: Tensor) -> Batch:
    """Rows of `NUMBERED` that have their number in every column, and number % 3 times in a list."""
    return encoded(
        NUMBERED,
        numeric=number[:, None].float(),
        ids=number[:, None].repeat(1, 2),
        lists=(number.repeat_interleave(number % 3),),
        lengths=(number % 3)[:, None],
        labels=number[:, None].float(),
        weights=number.float(),
    )


def row_numbers(loader: Loader, epoch: int = 0, start: int = 0) -> list[list[int]]:
    """Of each batch of such rows, after a check that the columns still belong together."""
    batches = []
    for batch in loader.epoch(epoch, start):
        number = batch["city"]
        assert torch.equal(batch["user"], number)
        assert torch.equal(batch["x"][:, 0].long(), number)
        assert torch.equal(batch.labels[:, 0].long(), number)
        assert torch.equal(batch.weights.long(), number)
        entries, lengths = batch["seen"]
        assert torch.equal(lengths, number % 3)
        assert torch.equal(entries, number.repeat_interleave(number % 3))
        batches.append(number.tolist())
    return batches


def tensors(batch: Batch) -> dict[str, Tensor]:
    """Every tensor of a batch by name, NaN as -1."""
    tensors_of = {n: t for block in batch.blocks.values() for n, t in block.tensors().items()}
    return tensors_of | {"labels": batch.labels.nan_to_num(-1), "weights": batch.weights}


def numbers(batch: Batch) -> Tensor:
    """(B, N) of all numeric features."""
    return batch.blocks["numeric"].tensors()["numeric"]
