"""The numbers of one training.

Shapes: T tasks, K blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

from recsys_mtl.gradients import Conflicts
from recsys_mtl.vision.reproduction.scores import Scores


@dataclass(frozen=True)
class Epoch:
    """An epoch's numbers, those of the training by task.

    Attributes:
        train_losses: (T,) means over the epoch's steps.
        scores: on all test images after it.
        conflicts: what the combiner said; None without one.
        gradnorm: (T,) its weights after it; None without it.
        skipped: steps without an update so far.
        seconds: of its steps.
    """

    train_losses: list[float]
    scores: Scores
    conflicts: Conflicts | None
    gradnorm: list[float] | None
    skipped: int
    seconds: float


@dataclass
class Fitted:
    """A training's numbers.

    Attributes:
        blocks: names of the K blocks that gradients were combined in.
        parameters: that learn.
        epochs: one by one.
        looks: (steps so far, (T,) losses) on the fixed test images.
        step_seconds: of every step, without measuring.
    """

    blocks: tuple[str, ...]
    parameters: int
    epochs: list[Epoch] = field(default_factory=list)
    looks: list[tuple[int, list[float]]] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)

    @property
    def step_ms(self) -> float:
        """Median milliseconds of a step."""
        return 1000 * median(self.step_seconds)
