"""Sharded tables and what belongs to them: complete on the first process, piece by piece.

The state of a training and a model have, under the name of a sharded table, the rows of this
process alone. On a disk they are complete, so that any number of processes can load them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from recsys_mtl import parallel
from recsys_mtl.model.embeddings import Embeddings
from recsys_mtl.tensor_file import Pieces

Result = TypeVar("Result")
_PIECE_BYTES = 16 * 2**20
_TABLE = re.compile(r"(?:^|\.)(?:embedding_bags|tables)\.(t_[^.]+)(?:\.weight)?$")
"""Of a weight and its copies, and of an accumulator, in a `state_dict` or a training's state."""


def own_rows(tensors: Mapping[str, Tensor], embeddings: Embeddings) -> dict[str, Tensor]:
    """This process' part of complete tensors."""
    own = {}
    for name, tensor in tensors.items():
        ranges = _ranges(name, embeddings)
        if ranges is not None and len(tensor) == sum(map(len, ranges)):
            rows = ranges[parallel.rank()]
            tensor = tensor[rows.start : rows.stop]
        own[name] = tensor
    return own


def on_first(
    embeddings: Embeddings,
    tensors: Mapping[str, Tensor],
    work: Callable[[Mapping[str, Tensor | Pieces]], Result],
) -> Result | None:
    """Let the first process work with complete tables, while the others send what it asks for.

    Inside, the first process may also run the network by itself, without gradients.

    Args:
        embeddings: of the network.
        tensors: of a `state_dict`, or of a training's state; their own rows.
        work: gets them complete; it must not call a collective.

    Returns:
        What it returns, in the first process.
    """
    if parallel.rank() == 0:
        if not embeddings.ranges:
            return work(tensors)
        try:
            with embeddings.alone():
                return work(_complete(tensors, embeddings))
        finally:
            parallel.broadcast(None)
    while embeddings.ranges and (request := parallel.broadcast(None)) is not None:
        if not request:
            embeddings.answer()
            continue
        name, owner, start, stop = request
        if owner == parallel.rank():
            parallel.send(tensors[name][start:stop], 0)
    return None


def of_first(tensors: Mapping[str, Tensor], embeddings: Embeddings) -> dict[str, Tensor]:
    """The first process' complete tensors; of sharded tables each process gets its own rows.

    Args:
        tensors: of the first process; not used in others.
        embeddings: of the network.
    """
    first = parallel.rank() == 0
    shapes = {n: ([*t.shape], str(t.dtype).removeprefix("torch.")) for n, t in tensors.items()}
    spread: dict[str, Tensor] = {}
    for name, (shape, dtype) in parallel.broadcast(shapes).items():
        rows, kind = _ranges(name, embeddings), getattr(torch, dtype)
        if rows is None:
            spread[name] = tensors[name] if first else torch.empty(shape, dtype=kind)
            parallel.broadcast_tensor(spread[name])
        elif first:
            for to, part in enumerate(rows[1:], 1):
                parallel.send(tensors[name][part.start : part.stop], to)
            spread[name] = tensors[name][: rows[0].stop]
        else:
            own = torch.empty(len(rows[parallel.rank()]), *shape[1:], dtype=kind)
            spread[name] = parallel.received(own, 0)
    return spread


def _complete(tensors: Mapping[str, Tensor], embeddings: Embeddings) -> dict[str, Tensor | Pieces]:
    """The same with all rows, in the first process."""
    complete: dict[str, Tensor | Pieces] = {}
    for name, tensor in tensors.items():
        ranges = _ranges(name, embeddings)
        if ranges is None:
            complete[name] = tensor
            continue
        shape = sum(map(len, ranges)), *tensor.shape[1:]
        complete[name] = Pieces(shape, tensor.dtype, _asked(name, tensor, ranges))
    return complete


def _asked(name: str, own: Tensor, ranges: Sequence[range]) -> Callable[[], Iterator[Tensor]]:
    rows = max(1, _PIECE_BYTES // max(1, own[:0].new_empty(1, *own.shape[1:]).nbytes))

    def pieces() -> Iterator[Tensor]:
        for owner, part in enumerate(ranges):
            for start in range(0, len(part), rows):
                stop = min(start + rows, len(part))
                if owner == 0:
                    yield own[start:stop]
                else:
                    parallel.broadcast([name, owner, start, stop])
                    yield parallel.received(own.new_empty(stop - start, *own.shape[1:]), owner)

    return pieces


def _ranges(name: str, embeddings: Embeddings) -> tuple[range, ...] | None:
    match = _TABLE.search(name)
    return embeddings.ranges.get(match[1]) if match else None
