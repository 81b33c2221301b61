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
_PIECE_BYTES = 16 * 2**20


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
    complete = {name: t.detach() for name, t in tensors.items() if isinstance(t, Tensor)}
    if len(complete) == len(tensors) and all(map(_is_plain, complete.values())):
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
            pieces = tensor.pieces() if isinstance(tensor, Pieces) else _rows(tensor.detach())
            for piece in pieces:
                flat = piece.detach().cpu().contiguous().view(-1)
                file.write(flat.view(torch.uint8).numpy().data)


def _is_plain(tensor: Tensor) -> bool:
    """On the CPU, contiguous, alone in its storage: fused tables are views of one storage."""
    alone = tensor.untyped_storage().nbytes() == tensor.nbytes
    return alone and tensor.device.type == "cpu" and tensor.is_contiguous()


def _rows(tensor: Tensor) -> Iterable[Tensor]:
    """A tensor in pieces of rows."""
    if not tensor.dim() or tensor.nbytes <= _PIECE_BYTES:
        return [tensor]
    return torch.split(tensor, max(1, _PIECE_BYTES * len(tensor) // tensor.nbytes))
