"""Averages of the weights over the steps of a training: evaluated and kept instead of the weights.

Sources: the mean over steps, Polyak & Juditsky (1992) and Izmailov et al. (2018, "stochastic weight
averaging"); the exponential moving average, Tarvainen & Valpola (2017).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from recsys_mtl.training.state import StateOwner

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Averaging:
    """Which average is taken.

    Attributes:
        decay: of the exponential moving average; None: the plain mean.
        start: share of all steps before the first that counts.
    """

    decay: float | None
    start: float = 0.0


class Average(StateOwner):
    """The average of a network's weights, tables included, in one buffer in addition to them.

    The decay of the moving average starts low, at (1 + n) / (10 + n) after n steps, so that initial
    weights are forgotten in a short training too.

    Args:
        network: whose parameters are averaged.
        averaging: how.
    """

    def __init__(self, network: nn.Module, averaging: Averaging) -> None:
        self.start = averaging.start
        self._network = network
        self._decay = averaging.decay
        self._count = 0
        self._average: list[Tensor] = []

    @torch.no_grad()
    def add(self) -> None:
        """Add the network's present weights."""
        weights = self._weights()
        if not self._count:
            self._allocate()
            for own, weight in zip(self._average, weights, strict=True):
                own.copy_(weight)
        else:
            lerp: Callable[..., None] = get_ema_multi_avg_fn(self._share())  # type: ignore[no-untyped-call]
            lerp(self._average, weights, self._count)
        self._count += 1

    @contextmanager
    def in_network(self) -> Iterator[None]:
        """The average is in the network inside, and the weights in training again after it."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def restore(self) -> None:
        """Put the average, if there is one, into the network, and free the buffer."""
        if not self._count:
            log.warning("training.averaging: no step counted, the weights are not averaged")
        self._exchange()
        self._average, self._count = [], 0

    def tensors(self) -> dict[str, Tensor]:
        """The average, by the names of the weights."""
        names = [name for name, _ in self._named()]
        return dict(zip(names, self._average, strict=True)) if self._average else {}

    def values(self) -> int:
        """Number of steps in the average."""
        return self._count

    def reserve(self, values: Any) -> None:
        """The buffer, if it is needed."""
        if values:
            self._allocate()
        else:
            self._average = []

    def load(self, tensors: Mapping[str, Tensor], values: Any) -> None:
        """Take over the average and its number of steps."""
        self._count = values
        for name, own in self.tensors().items():
            own.copy_(tensors[name])

    def _weights(self) -> list[Tensor]:
        return [weight.detach() for _, weight in self._named()]

    def _named(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters and what batch normalisation keeps."""
        yield from self._network.named_parameters()
        running = ("running_mean", "running_var")
        yield from (pair for pair in self._network.named_buffers() if pair[0].endswith(running))

    def _allocate(self) -> None:
        if not self._average:
            self._average = [torch.empty_like(weight) for weight in self._weights()]

    def _share(self) -> float:
        """Share of the present average in the next one."""
        count = self._count
        mean = count / (count + 1)
        return mean if self._decay is None else min(self._decay, (1 + count) / (10 + count))

    @torch.no_grad()
    def _exchange(self) -> None:
        """Without a copy of more than one parameter at a time."""
        for own, weight in zip(self._average, self._weights() if self._count else [], strict=True):
            kept = weight.clone()
            weight.copy_(own)
            own.copy_(kept)
