"""Bias, normalisation, activation and dropout of hidden layers by a native kernel, on tensors.

Shapes: G groups, B rows, O columns.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor

from recsys_mtl.native.library import Kernels

CHUNK_ROWS = 128
"""`CHUNK` in hidden.c."""

_RELU, _BF16, _NORM = 1, 2, 4
_ALONE = 16_384  # activations below which a second thread costs more than it gives


class _Layer(ctypes.Structure):
    """`Layer` in hidden.c."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("first", "groups", "total")),
        *((name, ctypes.c_int64) for name in ("rows", "width", "kind", "dropped", "layer")),
        *((name, ctypes.c_void_p) for name in ("seed", "bias", "gain", "shift", "z")),
        *((name, ctypes.c_int64) for name in ("z_group", "z_row")),
        *((name, ctypes.c_void_p) for name in ("mean", "rstd", "out")),
        *((name, ctypes.c_int64) for name in ("out_group", "out_row")),
        ("grad", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("grad_group", "grad_row")),
        ("sums", ctypes.c_void_p),
    ]


@dataclass(frozen=True)
class HiddenKernel:
    """One hidden layer of G groups, after its products.

    Attributes:
        kernels: the library.
        relu: the activation is ReLU instead of SiLU.
        dropped: of 256 random bytes, how many drop an activation; 0: no dropout.
        layer: distinguishes layers under one seed.
        seed: () int64.
        bias: (G, O) float32, contiguous.
        norm: (G, O) gain and shift, likewise; empty: no normalisation.
    """

    kernels: Kernels
    relu: bool
    dropped: int
    layer: int
    seed: Tensor
    bias: Tensor
    norm: tuple[Tensor, ...]

    def forward(self, z: Tensor, out: Tensor, moments: Tensor, first: int, groups: int) -> None:
        """Activations of `groups` groups, from `first` on.

        Args:
            z: (G, B, O) products without bias, float32 or bfloat16; columns are adjacent.
            out: (G, B, O), filled.
            moments: (2, G, B) float32, filled with means and inverse standard deviations.
            first: group.
            groups: number of them.
        """
        self._run(z, out, moments, None, None, first, groups)

    def backward(
        self,
        z: Tensor,
        moments: Tensor,
        gradient: Tensor,
        out: Tensor,
        sums: Tensor,
        first: int,
        groups: int,
    ) -> None:
        """The gradient of `z` from that of the activations.

        Args:
            z: (G, B, O), as in `forward`.
            moments: (2, G, B) of `forward`.
            gradient: (G, B, O) of the activations.
            out: (G, B, O), filled.
            sums: (3, G, chunks of rows, O) float32, filled: gradients of bias, gain and shift.
            first: group.
            groups: number of them.
        """
        self._run(z, out, moments, gradient, sums, first, groups)

    def _run(
        self,
        z: Tensor,
        out: Tensor,
        moments: Tensor,
        gradient: Tensor | None,
        sums: Tensor | None,
        first: int,
        groups: int,
    ) -> None:
        _, rows, width = z.shape
        kind = _RELU * self.relu | _BF16 * (z.dtype == torch.bfloat16) | _NORM * bool(self.norm)
        gain, shift = (p.data_ptr() for p in self.norm) if self.norm else (None, None)
        mean = moments.data_ptr()
        layer = _Layer(
            first, groups, len(self.bias), rows, width, kind, self.dropped, self.layer,
            self.seed.data_ptr(), self.bias.data_ptr(), gain, shift,
            z.data_ptr(), z.stride(0), z.stride(1),
            mean, mean + 4 * moments.stride(0), out.data_ptr(), out.stride(0), out.stride(1),
        )  # fmt: skip
        if gradient is not None and sums is not None:
            layer.grad, layer.sums = gradient.data_ptr(), sums.data_ptr()
            layer.grad_group, layer.grad_row = gradient.stride(0), gradient.stride(1)
        small = groups * rows * width < _ALONE
        threads = 1 if small else torch.get_num_threads()
        if self.kernels.hidden(ctypes.byref(layer), threads, self.kernels.parallel):
            raise MemoryError("no memory for a row of a hidden layer")
