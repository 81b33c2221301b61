"""The numbers of adaTT."""

from __future__ import annotations

from dataclasses import dataclass, field

from recsys_mtl.adatt.weights import Selection


@dataclass(frozen=True)
class Settings:
    """How much is transferred.

    Attributes:
        strength: λ.
        max_ratio: largest share of a task's loss that may be added to it; None: any.
        selection: how peers are chosen.
        learn_weights: whether W learns. Its gradient favours the tasks with the smallest loss,
            whatever the affinity.
        interval: steps between measurements.
        blend_start: prior's share at the end of the warm-up.
        blend_end: prior's share when frozen.

    Raises:
        ValueError: a number outside its range.
    """

    strength: float = 0.1
    max_ratio: float | None = 0.5
    selection: Selection = field(default_factory=Selection)
    learn_weights: bool = True
    interval: int = 10
    blend_start: float = 0.5
    blend_end: float = 0.1

    def __post_init__(self) -> None:
        for name in ("strength", "max_ratio"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name}: expected 0 or more, found {value}")
        if self.interval < 1:
            raise ValueError(f"interval: expected 1 or more, found {self.interval}")
        for name in ("blend_start", "blend_end"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected 0 to 1, found {getattr(self, name)}")
