"""The data of a training step that a measure may use.

Shapes: B rows, T tasks, I inputs, C_i output columns of task i, d_e entries of shared block e.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

_Value = TypeVar("_Value")


def _alone(tensor: Tensor) -> Tensor:
    return tensor


@dataclass(frozen=True)
class Observation:
    """One (sub-)batch. A measure calls only what it needs, so the rest costs nothing.

    Attributes:
        counts: (T,) labelled rows of these rows, over all processes; 0 means absent.
        gradients: one (T, d_e) gradient a shared block, means over all processes already
            (`recsys_mtl.gradients.over_processes`).
        outputs: T tensors (B, C_i) of task outputs, for every row: 1 column for binary and
            regression, C for multiclass (less the row's mean, as a shift of all logits has
            no effect), the query vector for retrieval.
        inputs: (B, I) input of the network.
        residuals: T tensors (B, C_i): ∂L_i/∂output of the predictor of the base
            rate alone: mean label less label (one-hot for multiclass); 0 in unlabelled rows.
        weights: (B,) of the rows; None: all 1. Gradients and residuals have them in already.
        sum_over_processes: adds up a tensor over all processes; every process must call the
            measure, and gets the same affinity. `outputs`, `inputs` and `residuals` are of the
            process's own rows.
    """

    counts: Tensor
    gradients: Callable[[], Sequence[Tensor]] | None = None
    outputs: Callable[[], Sequence[Tensor]] | None = None
    inputs: Callable[[], Tensor] | None = None
    residuals: Callable[[], Sequence[Tensor]] | None = None
    weights: Tensor | None = None
    sum_over_processes: Callable[[Tensor], Tensor] = _alone

    @property
    def present(self) -> Tensor:
        """(T,) bool: the tasks with labelled rows."""
        return self.counts > 0


def required(provider: Callable[[], _Value] | None, what: str, measure: str) -> _Value:
    """A provider's value.

    Raises:
        ValueError: there is no provider.
    """
    if provider is None:
        raise ValueError(
            f"{measure}: expected an observation with {what}, found one without; "
            "pass it, or choose another measure"
        )
    return provider()
