"""The weights of the best epoch, in one buffer in addition to the network's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys_mtl import memory
from recsys_mtl.training.state import StateOwner

_ALIGNED = 64  # bytes
_PIECE = 2**22  # values


class Best(StateOwner):
    """Keeps the best epoch and its weights; the latest while no score is defined.

    The buffer is allocated once and copied into. More than `LARGEST_IN_MEMORY` of weights are in a
    temporary file (see `spacious`): the memory of a training then holds its weights once.

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
        self._file: NDArray[Any] | None = None

    def update(self, epoch: int, score: float | None) -> None:
        """Compare an epoch's score with the best so far, and keep the weights if it is better."""
        if not self._is_better(score):
            return
        self.epoch, self.score = epoch, score
        if self._keep_weights:
            self._allocate()
            assert self._weights is not None
            self._copy(self._network.state_dict(), self._weights)

    def restore(self) -> None:
        """Put the best weights into the network, and free the buffer."""
        if self._weights is not None:
            self._copy(self._weights, self._network.state_dict())
            self._weights = self._file = None

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
            self._weights = self._file = None

    def load(self, tensors: Mapping[str, Tensor], values: Any) -> None:
        """Take over the epoch and its weights."""
        self.epoch, self.score = values["epoch"], values["score"]
        if self._weights is not None:
            self._copy(tensors, self._weights)

    def _allocate(self) -> None:
        if self._weights is not None:
            return
        state = self._network.state_dict()
        sizes = [-(-value.nbytes // _ALIGNED) * _ALIGNED for value in state.values()]
        if sum(sizes) <= memory.LARGEST_IN_MEMORY:
            self._weights = {name: torch.empty_like(value) for name, value in state.items()}
            return
        self._file = memory.spacious((sum(sizes),), np.dtype(np.uint8))
        parts = zip(state.items(), torch.split(torch.from_numpy(self._file), sizes), strict=True)
        self._weights = {
            name: part[: value.nbytes].view(value.dtype).view(value.shape)
            for (name, value), part in parts
        }

    def _copy(self, source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        """Piece by piece, so that few pages of the file are in memory together."""
        for name, own in target.items():
            if self._file is None:
                own.copy_(source[name])
                continue
            pieces = (torch.split(t.detach().reshape(-1), _PIECE) for t in (own, source[name]))
            for to, part in zip(*pieces, strict=True):
                to.copy_(part)
                memory.leave(self._file)

    def _is_better(self, score: float | None) -> bool:
        if self.score is None:
            return True  # nothing to compare with: the latest weights are kept
        if score is None:
            return False
        gain = score - self.score if self._larger_is_better else self.score - score
        return gain > self._min_delta
