"""What the libraries have in common: a learner fits a model to a problem."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from recsys_mtl.boosting.rows import Array, Problem

MAX_CATEGORIES = 255
"""scikit-learn splits categories of at most this many values."""


@dataclass(frozen=True)
class Model:
    """A fitted model.

    Attributes:
        predict: from columns (B, F) to (B,) values, or (B, classes) probabilities.
        trees: boosting rounds that are used: those of the lowest validation loss.
        settings: of the library, by its own names.
    """

    predict: Callable[[Array], Array]
    trees: int
    settings: Mapping[str, Any]

    def numbers(self) -> dict[str, Any]:
        """What result.json holds."""
        return {"trees": self.trees, "settings": dict(self.settings)}


class Learner(ABC):
    """A library with its settings.

    Attributes:
        package: the library's distribution.
        title: its name.
    """

    package: ClassVar[str]
    title: ClassVar[str]

    @abstractmethod
    def fit(
        self, problem: Problem, *, categories: Sequence[int | None], seed: int, threads: int
    ) -> Model:
        """A model of the columns, which have so many categories (None: not categorical)."""
