"""The diagnostics of many steps in a few numbers.

Shapes: T tasks, K blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from recsys_mtl.gradients.diagnostics import Diagnostics


@dataclass(frozen=True)
class Conflicts:
    """What the combined steps of an epoch said.

    Attributes:
        steps: how many they were.
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


class ConflictLog:
    """Sums diagnostics up until they are taken."""

    def __init__(self) -> None:
        self._steps = 0

    def add(self, diagnostics: Diagnostics) -> None:
        """Note a step."""
        if not self._steps:
            self._start(diagnostics)
        self._steps += 1
        self._negative += (diagnostics.cosines < 0).sum((1, 2))
        self._known += diagnostics.known
        self._cosines += diagnostics.cosines
        ratio = diagnostics.length_ratio()
        finite = ratio.isfinite()
        self._ratio += torch.where(finite, ratio, 0)
        self._ratios += finite
        if diagnostics.weights is not None:
            counted = (diagnostics.weights != 0) | diagnostics.known.any(2)
            self._weights += diagnostics.weights.sum(0)
            self._weighted += counted.sum(0)
        for name, value in diagnostics.extra.items():
            self._extra[name] = self._extra.get(name, 0.0) + value

    def take(self, *, skipped: int) -> Conflicts | None:
        """What was noted since the last time; None: nothing."""
        steps, self._steps = self._steps, 0
        if not steps:
            return None
        pairs, cosines = self._known.sum(0), self._cosines.sum(0)
        of_task = self._known.sum(2)
        return Conflicts(
            steps=steps,
            skipped=skipped,
            conflict_ratio=_mean(self._negative.double(), self._known.sum((1, 2))),
            task_cosine=_mean(self._cosines.sum(2), of_task),
            pair_cosine=_mean(cosines, pairs),
            length_ratio=_mean(self._ratio, self._ratios),
            weights=_mean(self._weights, self._weighted) if self._weighted.any() else None,
            extra={name: value / steps for name, value in self._extra.items()},
        )

    def _start(self, like: Diagnostics) -> None:
        blocks, tasks, _ = like.cosines.shape
        self._negative = torch.zeros(blocks, dtype=torch.int64)
        self._known = torch.zeros(blocks, tasks, tasks, dtype=torch.int64)
        self._cosines = torch.zeros(blocks, tasks, tasks, dtype=torch.float64)
        self._ratio = torch.zeros(blocks, dtype=torch.float64)
        self._ratios = torch.zeros(blocks, dtype=torch.int64)
        self._weights = torch.zeros(tasks, dtype=torch.float64)
        self._weighted = torch.zeros(tasks, dtype=torch.int64)
        self._extra: dict[str, float] = {}


def _mean(sums: Tensor, counts: Tensor) -> Tensor:
    return torch.where(counts > 0, sums / counts.clamp_min(1), torch.nan)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
