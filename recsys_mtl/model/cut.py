"""`Cut`: a step's graph in two parts: many passes above, one update of the tables below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from recsys_mtl import parallel


class Cut:
    """The pooled embeddings of a batch, and leaves that replace them.

    A table updates itself in every backward pass that reaches it. Everything above is computed on
    the leaves, where any number of passes add up to one gradient, which `spend` applies once::

        cut = network.cut(batch)
        loss(network.forward_from(cut.leaf(), batch)).backward()
        cut.spend()

    Args:
        embedded: outputs of the tables, on the graph.
    """

    def __init__(self, embedded: Sequence[Tensor]) -> None:
        self._embedded = tuple(embedded)
        self._leaves = tuple(tensor.detach().requires_grad_() for tensor in embedded)
        self._spent = False

    def leaf(self) -> tuple[Tensor, ...]:
        """The same values as leaves of the graph above, the same at every call."""
        return self._leaves

    def values(self) -> tuple[Tensor, ...]:
        """The same values off the graph."""
        return tuple(leaf.detach() for leaf in self._leaves)

    def spend(self) -> None:
        """Applies the leaves' gradients to the tables: one backward pass, one update of each.

        With several processes all have to call it.

        Raises:
            RuntimeError: they were applied already.
        """
        if self._spent:
            raise RuntimeError("the gradient of this cut is spent: a table learns once a step")
        self._spent = True
        pairs = list(zip(self._embedded, self._leaves, strict=True))
        if parallel.several():  # all take part in the tables' update
            for _, leaf in pairs:
                leaf.grad = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        reached = [(t, leaf.grad) for t, leaf in pairs if leaf.grad is not None and t.requires_grad]
        if reached:
            send: Callable[..., Tensor] = _Send.apply
            tensors, gradients = zip(*reached, strict=True)
            torch.autograd.backward(send(gradients, *tensors))


class _Send(torch.autograd.Function):
    """A scalar whose backward gives each of some tensors its gradient.

    `torch.autograd.backward` with gradients does the same, but its check of their shapes imports
    SymPy at the first step, which takes as long as hundreds of small steps.
    """

    @staticmethod
    def forward(ctx: Any, gradients: Sequence[Tensor], *tensors: Tensor) -> Tensor:
        """Nothing of the values."""
        ctx.gradients = gradients
        return tensors[0].new_empty(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients, of the shapes of the tensors."""
        return None, *ctx.gradients
