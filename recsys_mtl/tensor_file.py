"""Tensors in a safetensors file; one that is larger than the memory is written piece by piece."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

_NAMES = {
    torch.float64: "F64",
    torch.int64: "I64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True)
class Pieces:
    """A tensor whose rows come in pieces, which are nowhere in memory together.

    Attributes:
        shape: of all rows.
        dtype: of all values.
        pieces: starts a pass over the rows, in order.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    pieces: Callable[[], Iterable[Tensor]]

    @property
    def nbytes(self) -> int:
        """Of all rows."""
        return math.prod(self.shape) * self.dtype.itemsize


def save_tensors(path: Path, tensors: Mapping[str, Tensor | Pieces]) -> None:
    """Write a file that safetensors reads.

    Raises:
        OSError, SafetensorError: it cannot be written.
    """
    complete = {name: _plain(t) for name, t in tensors.items() if isinstance(t, Tensor)}
    if len(complete) == len(tensors):
        save_file(complete, path)
        return
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))  # aligned
    header, end = {}, 0
    for name in order:
        start, end = end, end + tensors[name].nbytes
        shape, dtype = list(tensors[name].shape), _NAMES[tensors[name].dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            tensor = tensors[name]
            pieces = tensor.pieces() if isinstance(tensor, Pieces) else [tensor]
            for piece in pieces:
                flat = piece.detach().cpu().contiguous().view(-1)
                file.write(flat.view(torch.uint8).numpy().data)


def _plain(tensor: Tensor) -> Tensor:
    """On the CPU, contiguous, alone in its storage: fused tables are views of one storage."""
    plain = tensor.detach().cpu().contiguous()
    alone = plain.untyped_storage().nbytes() == plain.nbytes
    return plain if alone else plain.clone()
