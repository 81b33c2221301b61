"""The common base of all measures of agreement between tasks.

Shapes: T tasks, E shared experts that are measured each on their own (1: all as one).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recsys_mtl.adatt.measures.observation import Observation


@dataclass(frozen=True)
class Shapes:
    """How large a measure's state is; each takes what it needs.

    Attributes:
        tasks: T.
        experts: shared experts; used by gradient_cosine.
        inputs: input columns of the network; used by averaged_gradient.
        widths: output columns of each task; used by averaged_gradient.
    """

    tasks: int
    experts: int = 1
    inputs: int = 0
    widths: tuple[int, ...] = ()


class Measure(nn.Module, ABC):
    """Keeps an affinity A of every pair of tasks. All state is in buffers.

    Args:
        tasks: T.
        experts: E.
    """

    latest: Tensor
    observations: Tensor
    skipped: Tensor

    def __init__(self, tasks: int, experts: int = 1) -> None:
        super().__init__()
        self.register_buffer("latest", torch.zeros(experts, tasks, tasks))
        self.register_buffer("observations", torch.tensor(0))
        self.register_buffer("skipped", torch.tensor(0))

    def affinity(self) -> Tensor:
        """(E, T, T) float32 in [−1, 1]; 1 on the diagonal; 0 where nothing was observed."""
        return self.latest.clone()

    @abstractmethod
    def pair_counts(self) -> Tensor:
        """(E, T, T) int64: how many observations each pair had."""

    @abstractmethod
    def observe(self, observation: Observation) -> bool:
        """Takes a (sub-)batch into A.

        Returns:
            False where it holds a number that is not finite: then A is unchanged, and `skipped`
            counts it.

        Raises:
            ValueError: the observation lacks what this measure needs.
        """

    def _accept(self, *values: Tensor) -> bool:
        """Whether all values are finite; counts the observation as used or skipped."""
        finite = all(bool(value.isfinite().all()) for value in values)
        (self.observations if finite else self.skipped).add_(1)
        return finite

    def _show(self, affinity: Tensor) -> None:
        """Sets A to (E, T, T), with 1 on the diagonal and within [−1, 1] where observed."""
        seen = self.pair_counts() > 0
        itself = torch.eye(affinity.shape[-1], dtype=torch.bool, device=affinity.device)
        within = torch.where(itself, torch.ones_like(affinity), affinity.clamp(-1, 1))
        self.latest.copy_(torch.where(seen, within, torch.zeros_like(within)))


@contextmanager
def exact(like: Tensor) -> Iterator[None]:
    """No graph and no autocast: a measure's arithmetic is float32 on the device of `like`."""
    with torch.no_grad(), torch.autocast(like.device.type, enabled=False):
        yield
