"""The diagnostics of many steps in a few numbers.

Shapes: T tasks, K blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from recsys_mtl.gradients.diagnostics import Diagnostics


@dataclass(frozen=True)
class Conflicts:
    """The diagnostics of an epoch's combined steps.

    Attributes:
        steps: how many.
        skipped: steps without an answer, all since the start.
        conflict_ratio: (K,) share of known task pairs with a negative cosine; NaN where none is.
        task_cosine: (K, T) mean cosine of a task with the others; NaN where never known.
        pair_cosine: (T, T) mean cosine over blocks and steps; NaN on the diagonal.
        length_ratio: (K,) mean length of the combined gradient over that of the plain sum.
        weights: (T,) mean weight over the blocks and steps in which a task has a gradient, NaN
            where it has none; None where the method does not weigh.
        extra: means of the method's own numbers, such as CAGT's λ, by name.
    """

    steps: int
    skipped: int
    conflict_ratio: Tensor
    task_cosine: Tensor
    pair_cosine: Tensor
    length_ratio: Tensor
    weights: Tensor | None
    extra: dict[str, float] = field(default_factory=dict)

    def described(self, blocks: Sequence[str], tasks: Sequence[str]) -> dict[str, Any]:
        """Plain numbers by name; None where nothing is known. `pair_cosine` is (T, T) lists."""

        def by_block(values: Tensor) -> dict[str, float | None]:
            return dict(zip(blocks, map(_known, values.tolist()), strict=True))

        def by_task(values: Tensor) -> dict[str, float | None]:
            return dict(zip(tasks, map(_known, values.tolist()), strict=True))

        return {
            "steps": self.steps,
            "skipped": self.skipped,
            "conflict_ratio": by_block(self.conflict_ratio),
            "length_ratio": by_block(self.length_ratio),
            "task_cosine": {
                block: by_task(row) for block, row in zip(blocks, self.task_cosine, strict=True)
            },
            "pair_cosine": [[_known(value) for value in row] for row in self.pair_cosine.tolist()],
            "weights": None if self.weights is None else by_task(self.weights),
            "extra": dict(self.extra),
        }


class ConflictLog(nn.Module):
    """Sums diagnostics until `take`. Its `state_dict` holds all of it.

    Args:
        blocks: K.
        tasks: T.
    """

    negative: Tensor
    known: Tensor
    cosines: Tensor
    ratio: Tensor
    ratios: Tensor
    weights: Tensor
    weighted: Tensor

    def __init__(self, blocks: int, tasks: int) -> None:
        super().__init__()
        counts, sums = torch.int64, torch.float64
        for name, size, dtype in (
            ("negative", (blocks,), counts),
            ("known", (blocks, tasks, tasks), counts),
            ("cosines", (blocks, tasks, tasks), sums),
            ("ratio", (blocks,), sums),
            ("ratios", (blocks,), counts),
            ("weights", (tasks,), sums),
            ("weighted", (tasks,), counts),
        ):
            self.register_buffer(name, torch.zeros(size, dtype=dtype))
        self._steps = 0
        self._extra: dict[str, float] = {}

    def add(self, diagnostics: Diagnostics) -> None:
        """Add a step."""
        self._steps += 1
        diagnostics = diagnostics.to(self.negative.device)
        self.negative += (diagnostics.cosines < 0).sum((1, 2))
        self.known += diagnostics.known
        self.cosines += diagnostics.cosines
        ratio = diagnostics.length_ratio()
        finite = ratio.isfinite()
        self.ratio += torch.where(finite, ratio, 0)
        self.ratios += finite
        if diagnostics.weights is not None:
            counted = (diagnostics.weights != 0) | diagnostics.known.any(2)
            self.weights += diagnostics.weights.sum(0)
            self.weighted += counted.sum(0)
        for name, value in diagnostics.extra.items():
            self._extra[name] = self._extra.get(name, 0.0) + value

    def take(self, *, skipped: int) -> Conflicts | None:
        """The summary since the last call; None: no step was added."""
        if not self._steps:
            return None
        conflicts = Conflicts(
            steps=self._steps,
            skipped=skipped,
            conflict_ratio=_mean(self.negative.double(), self.known.sum((1, 2))),
            task_cosine=_mean(self.cosines.sum(2), self.known.sum(2)),
            pair_cosine=_mean(self.cosines.sum(0), self.known.sum(0)),
            length_ratio=_mean(self.ratio, self.ratios),
            weights=_mean(self.weights, self.weighted) if self.weighted.any() else None,
            extra={name: value / self._steps for name, value in self._extra.items()},
        )
        for buffer in self.buffers():
            buffer.zero_()
        self._steps, self._extra = 0, {}
        return conflicts

    def get_extra_state(self) -> dict[str, Any]:
        """The state outside of tensors; plain values, as in `torch.nn.Module`."""
        return {"steps": self._steps, "extra": dict(self._extra)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the result of `get_extra_state`."""
        self._steps, self._extra = state["steps"], dict(state["extra"])


def _mean(sums: Tensor, counts: Tensor) -> Tensor:
    return torch.where(counts > 0, sums / counts.clamp_min(1), torch.nan)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
