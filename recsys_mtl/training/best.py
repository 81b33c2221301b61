"""The weights of the best epoch, in one buffer in addition to the network's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from recsys_mtl.training.state import StateOwner


class Best(StateOwner):
    """Keeps the best epoch and its weights; the latest while no score is defined.

    The buffer is allocated once and copied into: a training needs the memory of its weights
    twice, never three times.

    Args:
        network: whose weights are kept.
        larger_is_better: direction of the score.
        min_delta: a gain has to exceed it to count.
        keep_weights: whether to keep weights.
    """

    def __init__(
        self, network: nn.Module, *, larger_is_better: bool, min_delta: float, keep_weights: bool
    ) -> None:
        self.epoch = 0
        self.score: float | None = None
        self._network = network
        self._larger_is_better = larger_is_better
        self._min_delta = min_delta
        self._keep_weights = keep_weights
        self._weights: dict[str, Tensor] | None = None

    def update(self, epoch: int, score: float | None) -> None:
        """Compare an epoch's score with the best so far, and keep the weights if it is better."""
        if not self._is_better(score):
            return
        self.epoch, self.score = epoch, score
        if self._keep_weights:
            self._allocate()
            assert self._weights is not None
            for name, value in self._network.state_dict().items():
                self._weights[name].copy_(value)

    def restore(self) -> None:
        """Put the best weights into the network, and free the buffer."""
        if self._weights is not None:
            self._network.load_state_dict(self._weights)
            self._weights = None

    def tensors(self) -> dict[str, Tensor]:
        """The weights, if any are kept."""
        return self._weights or {}

    def values(self) -> dict[str, Any]:
        """The epoch and its score; `weights`: whether weights are kept."""
        return {"epoch": self.epoch, "score": self.score, "weights": self._weights is not None}

    def reserve(self, values: Any) -> None:
        """The buffer, if it is needed."""
        if values["weights"]:
            self._allocate()
        else:
            self._weights = None

    def load(self, tensors: Mapping[str, Tensor], values: Any) -> None:
        """Take over the epoch and its weights."""
        self.epoch, self.score = values["epoch"], values["score"]
        for name, weights in self.tensors().items():
            weights.copy_(tensors[name])

    def _allocate(self) -> None:
        if self._weights is None:
            state = self._network.state_dict()
            self._weights = {name: torch.empty_like(value) for name, value in state.items()}

    def _is_better(self, score: float | None) -> bool:
        if self.score is None:
            return True  # nothing to compare with: the latest weights are kept
        if score is None:
            return False
        gain = score - self.score if self._larger_is_better else self.score - score
        return gain > self._min_delta
