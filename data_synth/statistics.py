"""Statistics counted block by block while rows are drawn: truth.json needs no second pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_synth.block import RowBlock
from data_synth.response import Floats
from data_synth.targets import Complement
from data_synth.targets.base import Array
from data_synth.world import World
from recsys_mtl.storage.location import Location


@dataclass(frozen=True)
class Statistics:
    """Sums over rows.

    Attributes:
        rows: how many.
        sums: (T,) of the scores.
        products: (T, T) of the scores with each other.
        counts: by task (P,), scores of the labelled rows on the task's grid.
    """

    rows: int
    sums: Floats
    products: Floats
    counts: dict[str, Array]

    @classmethod
    def of(cls, world: World, block: RowBlock) -> Statistics:
        """Of one block, complete or cut."""
        scores = block.scores.astype(np.float64)
        column = {name: index for index, name in enumerate(world.plan.scored)}
        counts = {}
        for name, task in world.plan.tasks.items():
            own = task.of if isinstance(task, Complement) else name
            seen = block.scores[block.labelled[name], column[own]]
            counts[name] = world.targets[name].grid.count(seen)
        return cls(len(scores), scores.sum(axis=0), scores.T @ scores, counts)

    @classmethod
    def total(cls, parts: Iterable[Statistics]) -> Statistics:
        """The sum of all; at least one."""
        first, *others = parts
        counts = {name: values.copy() for name, values in first.counts.items()}
        rows, sums, products = first.rows, first.sums, first.products
        for part in others:
            rows, sums, products = rows + part.rows, sums + part.sums, products + part.products
            for name, values in part.counts.items():
                counts[name] += values
        return cls(rows, sums, products, counts)

    @property
    def correlation(self) -> Floats:
        """(T, T) correlation of the scores."""
        mean = self.sums / self.rows
        spread = self.products / self.rows - np.outer(mean, mean)
        scale = np.sqrt(np.maximum(np.diag(spread), 1e-300))
        correlation: Floats = spread / np.outer(scale, scale)
        return correlation

    def save(self, path: Path) -> None:
        """Write an .npz file."""
        with path.open("wb") as file:
            arrays: dict[str, Any] = {f"counts.{name}": n for name, n in self.counts.items()}
            arrays |= {"rows": self.rows, "sums": self.sums, "products": self.products}
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: Location) -> Statistics:
        """Read what `save` wrote; no pickle is read."""
        with path.open("rb") as stored, np.load(stored, allow_pickle=False) as file:
            counts = {
                name.removeprefix("counts."): file[name]
                for name in file.files
                if name.startswith("counts.")
            }
            return cls(int(file["rows"]), file["sums"], file["products"], counts)
