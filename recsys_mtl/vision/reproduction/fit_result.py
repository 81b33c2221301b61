"""The numbers of one training.

Shapes: T tasks, K blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

from recsys_mtl.gradients import Conflicts
from recsys_mtl.vision.reproduction.scores import ImageScores


@dataclass(frozen=True)
class EpochResult:
    """An epoch's numbers, those of the training by task.

    Attributes:
        train_losses: (T,) means over the epoch's steps.
        scores: on all test images after it.
        conflicts: the combiner's diagnostics; None without one.
        gradnorm: (T,) its weights after it; None without it.
        skipped: steps without an update so far.
        seconds: of its steps.
    """

    train_losses: list[float]
    scores: ImageScores
    conflicts: Conflicts | None
    gradnorm: list[float] | None
    skipped: int
    seconds: float


@dataclass
class FitResult:
    """A training's numbers.

    Attributes:
        blocks: names of the K blocks of combined gradients.
        parameters: number of those that learn.
        initial_weights: digest of the weights from a file; None where they were drawn.
        epochs: one by one.
        measurements: (steps so far, (T,) losses) on the fixed test images.
        step_seconds: of every step, without measuring.
    """

    blocks: tuple[str, ...]
    parameters: int
    initial_weights: str | None = None
    epochs: list[EpochResult] = field(default_factory=list)
    measurements: list[tuple[int, list[float]]] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)

    @property
    def step_ms(self) -> float:
        """Median milliseconds of a step."""
        return 1000 * median(self.step_seconds)
