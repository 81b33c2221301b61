"""G MLPs of equal shape on a CPU as one autograd function, by the native kernel of hidden layers.

One function for all groups and layers writes every product and gradient where it belongs: nothing
is stacked, and no gradient of one group is padded to all of them.

Shapes: G groups, B rows, I inputs, O outputs of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from recsys_mtl.native import SWITCH, Kernels, kernels
from recsys_mtl.native.hidden import CHUNK_ROWS, HiddenKernel

_DTYPES = (torch.float32, torch.bfloat16)


@dataclass(frozen=True)
class Plan:
    """What is computed.

    Attributes:
        kernels: the library.
        relu: the activation is ReLU instead of SiLU.
        normed: whether layers are normalised; then they have four parameters instead of two.
        dropped: of 256 random bytes, how many drop an activation; 0: no dropout.
        loop: one group after another, instead of batched products.
        dtype: of the products.
    """

    kernels: Kernels
    relu: bool
    normed: bool
    dropped: int
    loop: bool
    dtype: torch.dtype


def usable_kernels(x: Tensor) -> Kernels | None:
    """The native kernels, where they can train with this input; else torch has to compute.

    What is evaluated or served is torch's too: the kernels gain nothing there, and the digits are
    those of a model that is exported, or served where there are no kernels.
    """
    if not torch.is_grad_enabled():
        return None
    if torch.compiler.is_compiling() or torch.compiler.is_exporting():
        return None
    if x.device.type != "cpu" or type(x) is not Tensor or compute_dtype(x) not in _DTYPES:
        return None
    if torch._C._get_tracing_state() is not None:  # torch.jit.trace
        return None
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return None
    return kernels()


def native_mlp(x: Tensor, plan: Plan, parameters: Sequence[Tensor]) -> Tensor:
    """(B, I) or (G, B, I) through all layers, (G, B, last O).

    Args:
        x: inputs.
        plan: what is computed.
        parameters: of each layer (G, O, I) weight, (G, O) bias and, if normed, gain and shift.
    """
    x = x.to(plan.dtype)
    seed = torch.empty((), dtype=torch.int64)
    if plan.dropped:
        seed.random_(-(2**63), None)
    keep = any(t.requires_grad for t in (x, *parameters))
    output: Tensor = _NativeMLP.apply(plan, keep, x, seed, *parameters)  # type: ignore[no-untyped-call]
    return output


def compute_dtype(x: Tensor) -> torch.dtype:
    """The type of products with `x`, autocast included."""
    if x.is_floating_point() and torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu")
    return x.dtype


class _NativeMLP(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, plan: Plan, keep: bool, x: Tensor, seed: Tensor, *parameters: Tensor
    ) -> Tensor:
        layers = _layers(parameters, plan, seed)
        run = _Forward(x, plan, layers, keep)
        output = run()
        if keep:
            weights = [layer.weight for layer in layers]
            ctx.save_for_backward(x, seed, *parameters, *weights, *run.kept())
            ctx.plan, ctx.count = plan, len(layers)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the native kernel has no gradients of gradients: set the environment variable "
                f"{SWITCH}=0"
            )
        plan, count = ctx.plan, ctx.count
        x, seed, *saved = ctx.saved_tensors
        own = count * (4 if plan.normed else 2)
        parameters, weights, kept = saved[:own], saved[own : own + count], saved[own + count :]
        needed = [_will_be_used(node) for node, _ in ctx.next_functions]  # of the tensors alone
        layers = _layers(parameters, plan, seed, weights)
        of_x, of_parameters = _Backward(x, plan, layers, kept, needed[0], needed[2:])(gradients[0])
        return None, None, of_x, None, *of_parameters


def _will_be_used(node: Any) -> bool:
    """Whether this backward pass needs the gradient of an input: `autograd.grad` may not."""
    if node is None:
        return False
    try:
        return bool(torch._C._will_engine_execute_node(node))
    except RuntimeError:  # a leaf that `autograd.grad` asks for
        return True


@dataclass(frozen=True)
class _OneLayer:
    """(G, O, I) weights in the products' precision, and what follows the products."""

    weight: Tensor
    after: HiddenKernel

    @property
    def width(self) -> int:
        """O."""
        return self.weight.shape[1]


def _layers(
    parameters: Sequence[Tensor], plan: Plan, seed: Tensor, weights: Sequence[Tensor] = ()
) -> list[_OneLayer]:
    each = 4 if plan.normed else 2
    layers = []
    for number, start in enumerate(range(0, len(parameters), each)):
        weight, *rest = parameters[start : start + each]
        bias, *norm = (p.detach().float().contiguous() for p in rest)
        own = weights[number] if weights else weight.detach().to(plan.dtype)
        after = HiddenKernel(plan.kernels, plan.relu, plan.dropped, number, seed, bias, tuple(norm))
        layers.append(_OneLayer(own, after))
    return layers


class _Forward:
    """One forward pass; with `keep` it holds what backward needs."""

    def __init__(self, x: Tensor, plan: Plan, layers: Sequence[_OneLayer], keep: bool) -> None:
        self._x, self._plan, self._layers, self._keep = x, plan, layers, keep
        groups, rows = len(layers[0].weight), x.shape[-2]
        # Without backward, groups take turns in the same memory: a stride of 0 between them
        held = groups if keep or not plan.loop else 1
        sizes = [(held, rows, layer.width) for layer in layers]
        self._z = [x.new_empty(size).expand(groups, -1, -1) for size in sizes]
        self._h = [x.new_empty(size).expand(groups, -1, -1) for size in sizes[:-1]]
        self._h.append(x.new_empty(groups, rows, layers[-1].width))
        self._moments = [torch.empty(2, groups, rows if plan.normed else 0) for _ in layers]

    def kept(self) -> list[Tensor]:
        """Products, activations except the last, moments; layer by layer each."""
        return [*self._z, *self._h[:-1], *self._moments]

    def __call__(self) -> Tensor:
        """(G, B, last O)."""
        return self._by_group() if self._plan.loop else self._batched()

    def _by_group(self) -> Tensor:
        groups = len(self._h[-1])
        inputs = [self._x] * groups if self._x.dim() == 2 else self._x.unbind(0)
        weights = [layer.weight.mT.unbind(0) for layer in self._layers]
        z = [each.unbind(0) for each in self._z]
        h = [each.unbind(0) for each in self._h]
        for group, h_in in enumerate(inputs):
            for number, layer in enumerate(self._layers):
                torch.mm(h_in, weights[number][group], out=z[number][group])
                self._after(layer, number, group, 1)
                h_in = h[number][group]
        return self._h[-1]

    def _batched(self) -> Tensor:
        groups, h = len(self._h[-1]), self._x
        for number, layer in enumerate(self._layers):
            if h.dim() == 2:
                wide = h @ layer.weight.flatten(0, 1).T
                self._z[number] = wide.view(-1, groups, layer.width).transpose(0, 1)
            else:
                torch.bmm(h, layer.weight.mT, out=self._z[number])
            self._after(layer, number, 0, groups)
            h = self._h[number]
        return h

    def _after(self, layer: _OneLayer, number: int, first: int, groups: int) -> None:
        z, h = self._z[number], self._h[number]
        layer.after.forward(z, h, self._moments[number], first, groups)


class _Backward:
    """One backward pass."""

    def __init__(
        self,
        x: Tensor,
        plan: Plan,
        layers: Sequence[_OneLayer],
        kept: Sequence[Tensor],
        x_needed: bool,
        needed: Sequence[bool],
    ) -> None:
        count = len(layers)
        self._x, self._plan, self._layers, self._x_needed = x, plan, layers, x_needed
        self._needed = needed
        self._z, self._h = kept[:count], [x, *kept[count : 2 * count - 1]]
        self._moments = kept[2 * count - 1 :]
        each = len(needed) // count
        self._weight_needed = needed[::each]
        groups, rows = len(layers[0].weight), x.shape[-2]
        self._chunks = -(-rows // CHUNK_ROWS)
        parts = 3 if plan.normed else 1
        self._sums = [torch.empty(parts, groups, self._chunks, layer.width) for layer in layers]
        self._weights = [
            torch.empty_like(layer.weight) if wanted else None
            for layer, wanted in zip(layers, self._weight_needed, strict=True)
        ]

    def __call__(self, gradient: Tensor) -> tuple[Tensor | None, list[Tensor | None]]:
        """From that of the activations to those of the input and the parameters."""
        if gradient.stride(-1) != 1:
            gradient = gradient.contiguous()
        of_x = self._by_group(gradient) if self._plan.loop else self._batched(gradient)
        parameters: list[Tensor | None] = []
        for weight, sums in zip(self._weights, self._sums, strict=True):
            parameters.append(None if weight is None else weight.float())
            parameters += sums.sum(2).unbind(0)
        wanted = zip(parameters, self._needed, strict=True)
        return of_x, [p if needed else None for p, needed in wanted]

    def _by_group(self, gradient: Tensor) -> Tensor | None:
        groups, rows, _ = gradient.shape
        shared = self._x.dim() == 2
        of_x = _aligned(self._x, zeros=shared) if self._x_needed else None
        dz = [gradient.new_empty(1, rows, layer.width) for layer in self._layers]
        dh = [gradient.new_empty(1, rows, layer.width) for layer in self._layers[:-1]]
        weights = [layer.weight.unbind(0) for layer in self._layers]
        of_weights = [None if w is None else w.unbind(0) for w in self._weights]
        inputs = [h.unbind(0) if h.dim() == 3 else [h] * groups for h in self._h]
        for group in range(groups):
            d = gradient
            for number in reversed(range(len(self._layers))):
                self._before(number, d, dz[number].expand(groups, -1, -1), group, 1)
                own, into = dz[number][0], of_weights[number]
                if into is not None:
                    torch.mm(own.T, inputs[number][group], out=into[group])
                if number:
                    torch.mm(own, weights[number][group], out=dh[number - 1][0])
                    d = dh[number - 1].expand(groups, -1, -1)
                elif of_x is not None and shared:
                    of_x.addmm_(own, weights[0][group])
                elif of_x is not None:
                    torch.mm(own, weights[0][group], out=of_x[group])
        return of_x

    def _batched(self, d: Tensor) -> Tensor | None:
        for number in reversed(range(len(self._layers))):
            layer, h, into = self._layers[number], self._h[number], self._weights[number]
            dz = torch.empty_like(self._z[number])  # of the same layout
            self._before(number, d, dz, 0, len(dz))
            if h.dim() == 2:
                wide = dz.transpose(0, 1).flatten(1)
                if into is not None:
                    torch.mm(wide.T, h, out=into.view(-1, h.shape[1]))
                return wide @ layer.weight.flatten(0, 1) if self._x_needed else None
            if into is not None:
                torch.bmm(dz.mT, h, out=into)
            if number or self._x_needed:
                d = torch.bmm(dz, layer.weight)
        return d if self._x_needed else None

    def _before(self, number: int, d: Tensor, dz: Tensor, first: int, groups: int) -> None:
        z, moments, sums = self._z[number], self._moments[number], self._sums[number]
        self._layers[number].after.backward(z, moments, d, dz, sums, first, groups)


def _aligned(like: Tensor, *, zeros: bool) -> Tensor:
    """A tensor of that shape whose rows start at multiples of 64 bytes.

    A product into rows of 429 columns was measured to take 1.5 times as long otherwise.
    """
    columns = like.shape[-1]
    unit = 64 // like.element_size()
    shape = *like.shape[:-1], -(-columns // unit) * unit
    return (like.new_zeros(shape) if zeros else like.new_empty(shape))[..., :columns]
