"""G networks of equal shape in one module: experts of a kind, towers, gates.

Shapes: G groups, B rows, I inputs, O outputs. An input is (B, I), the same for all groups, or
(G, B, I), one for each; an output is (G, B, O).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recsys_mtl.model.device import LOOPING
from recsys_mtl.model.dropout import dropout, dropped_of_256
from recsys_mtl.model.members import MemberInputs, multiplied
from recsys_mtl.model.native_mlp import Plan, compute_dtype, native_mlp, usable_kernels
from recsys_mtl.native import Kernels

# From this many activations a group (rows × widest layer), a loop that keeps one group in cache
# beats batched products over all groups on a CPU: measured equal at 256 rows × 256, 10 % of a step
# faster at 2048 rows, and several times if the large tensors would be paged in at every step.
_LOOP_ELEMENTS = 65_536


class GroupedLinear(nn.Module):
    """G independent affine maps, initialised like `torch.nn.Linear`.

    Attributes:
        weight: (G, O, I).
        bias: (G, O), or None.
    """

    bias: nn.Parameter | None

    def __init__(
        self, groups: int, in_features: int, out_features: int, *, bias: bool = True
    ) -> None:
        super().__init__()
        bound = in_features**-0.5
        self.weight = nn.Parameter(torch.empty(groups, out_features, in_features))
        nn.init.uniform_(self.weight, -bound, bound)
        if bias:
            self.bias = nn.Parameter(torch.empty(groups, out_features))
            nn.init.uniform_(self.bias, -bound, bound)
        else:
            self.register_parameter("bias", None)

    def forward(self, x: Tensor | MemberInputs) -> Tensor:
        """(B, I) or (G, B, I) to (G, B, O); one wide product for a shared input."""
        if isinstance(x, MemberInputs):
            return x.linear(self.weight, self.bias)
        groups, outputs, _ = self.weight.shape
        if x.dim() == 2:
            bias = None if self.bias is None else self.bias.flatten()
            wide = F.linear(x, self.weight.flatten(0, 1), bias)
            return wide.view(-1, groups, outputs).transpose(0, 1)
        if self.bias is None:
            return torch.bmm(x, self.weight.mT)
        return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight.mT)


class GroupedLayerNorm(nn.Module):
    """Layer normalisation (Ba et al. 2016) over the last dimension, affine per group.

    Attributes:
        weight: (G, O), initially ones.
        bias: (G, O), initially zeros.
    """

    def __init__(self, groups: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(groups, features))
        self.bias = nn.Parameter(torch.zeros(groups, features))

    def forward(self, x: Tensor) -> Tensor:
        """(G, B, O) to (G, B, O), in the input's precision."""
        if x.device.type not in LOOPING:
            return self._fused(x)
        normed = F.layer_norm(x, x.shape[-1:]).to(x.dtype)
        scale, shift = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return torch.addcmul(shift.unsqueeze(1), normed, scale.unsqueeze(1))

    def _fused(self, x: Tensor) -> Tensor:
        """The same as group normalisation of (B, G · O): one kernel each way, affine included."""
        flat = x.transpose(0, 1).flatten(1)
        scale, shift = self.weight.flatten(), self.bias.flatten()
        normed = F.group_norm(flat, len(x), scale, shift).to(x.dtype)
        return normed.view(-1, *self.weight.shape).transpose(0, 1)


@dataclass(frozen=True)
class HiddenLayers:
    """What follows the affine map of every hidden layer.

    Attributes:
        normalization: layer (Ba et al. 2016) or none.
        activation: silu or relu.
        dropout: probability of a zero, last.
    """

    normalization: Literal["layer", "none"] = "layer"
    activation: Literal["silu", "relu"] = "silu"
    dropout: float = 0.1


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"silu": F.silu, "relu": F.relu}


class GroupedMLP(nn.Module):
    """G independent MLPs: Linear, normalisation, activation, dropout for each hidden layer.

    The two ways to run it give the same numbers up to rounding; on a CPU a loop over the groups
    is faster for large batches, batched products elsewhere.
    """

    def __init__(
        self, groups: int, in_features: int, hidden: Sequence[int], layers: HiddenLayers
    ) -> None:
        super().__init__()
        widths = [in_features, *hidden]
        self.groups = groups
        self.out_features = widths[-1]
        self.dropout = layers.dropout
        self._activation = _ACTIVATIONS[layers.activation]
        self._largest = max(widths[1:], default=0)
        self.linears = nn.ModuleList(GroupedLinear(groups, i, o) for i, o in pairwise(widths))
        self.norms = nn.ModuleList(
            GroupedLayerNorm(groups, width) if layers.normalization == "layer" else nn.Identity()
            for width in hidden
        )

    def forward(self, x: Tensor | MemberInputs, gates: Sequence[Tensor] | None = None) -> Tensor:
        """(B, I) or (G, B, I) to (G, B, last hidden width); no hidden layer: the input.

        Args:
            x: the inputs.
            gates: (G, B, O) factors of every hidden layer's outputs; None: ones.
        """
        if not self.linears:
            x = multiplied(x)
            return x if x.dim() == 3 else x.expand(self.groups, -1, -1)
        layers = list(zip(self.linears, self.norms, strict=True))
        if gates is not None:
            x = multiplied(x)
            for (linear, norm), gate in zip(layers, gates, strict=True):
                x = self._end(norm(linear(x)))
                x = x * gate.to(x.dtype)
            return x
        if isinstance(x, MemberInputs):
            (linear, norm), *layers = layers
            x = self._end(norm(linear(x)))
        # Exported, the choice would fix the range of B
        looping = bool(layers) and x.device.type in LOOPING and not torch.compiler.is_exporting()
        if looping and (native := usable_kernels(x)) is not None:
            return native_mlp(x, self._plan(x, native), _parameters(layers))
        if looping and x.shape[-2] * self._largest >= _LOOP_ELEMENTS:
            return self._loop(x, layers)
        for linear, norm in layers:
            x = self._end(norm(linear(x)))
        return x

    def _plan(self, x: Tensor, native: Kernels) -> Plan:
        return Plan(
            native,
            relu=self._activation is F.relu,
            normed=isinstance(self.norms[0], GroupedLayerNorm),
            dropped=dropped_of_256(self.dropout) if self.training else 0,
            loop=x.shape[-2] * self._largest >= _LOOP_ELEMENTS,
            dtype=compute_dtype(x),
        )

    def _loop(self, x: Tensor, modules: Sequence[tuple[nn.Module, nn.Module]]) -> Tensor:
        layers = [
            # Cast once; unbind, as indexing has a backward as large as all groups
            zip(
                *(p.to(x.dtype).unbind(0) for p in (*linear.parameters(), *norm.parameters())),
                strict=True,
            )
            for linear, norm in modules
        ]
        inputs = x.unbind(0) if x.dim() == 3 else [x] * self.groups
        outputs = [
            self._one(h, group) for h, group in zip(inputs, zip(*layers, strict=True), strict=True)
        ]
        return outputs[0].unsqueeze(0) if self.groups == 1 else torch.stack(outputs)

    def _one(self, h: Tensor, layers: Sequence[tuple[Tensor, ...]]) -> Tensor:
        """(B, I) through one group's layers, each (weight, bias) and its norm's two."""
        for weight, bias, *norm in layers:
            h = F.linear(h, weight, bias)
            if norm:
                h = F.layer_norm(h, norm[0].shape, norm[0], norm[1])
            h = self._end(h)
        return h

    def _end(self, h: Tensor) -> Tensor:
        """Activation and dropout."""
        return dropout(self._activation(h), self.dropout, training=self.training)


def _parameters(layers: Sequence[tuple[nn.Module, nn.Module]]) -> list[Tensor]:
    """Of all layers, in their order."""
    return [p for layer in layers for module in layer for p in module.parameters()]
