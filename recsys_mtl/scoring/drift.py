"""How far rows that are scored have moved from those that the model was trained on.

The population stability index of two distributions over the same cells is PSI = Σ (p − q) ln(p/q),
here with shares of at least `FLOOR`, a cell that one distribution lacks counts and is finite.
By habit, below 0.1 is stable, up to 0.25 moderate, above it large. Without any drift PSI is about
(cells − 1) · (1/n + 1/m) for n and m rows: a small batch reaches 0.1 by chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recsys_mtl.columns.bins import NULL, UNKNOWN, Counts
from recsys_mtl.scoring.tally import Tally
from recsys_mtl.serving.reference import Key, Reference

FLOOR = 1e-4
STABLE, LARGE = 0.1, 0.25
_DRAWS, _LEVEL = 1000, 0.999
Reading = Literal["stable", "by chance", "moderate", "large", "no rows"]


@dataclass(frozen=True)
class Drift:
    """How far one distribution has moved.

    Attributes:
        part: feature (the entries of a list), length (of lists) or score.
        name: feature or task.
        psi: see the module; None where either has no values.
        by_chance: the PSI to expect without drift.
        reading: of the PSI.
        values: how many were counted now.
        values_then: how many the reference counted.
        null: share of nulls; None where there is no such cell.
        null_then: the same of the reference.
        unknown: share of unknown categories; None where there is no such cell.
        unknown_then: the same of the reference.
        moved: the cells that add most to the PSI, the first most.
    """

    part: str
    name: str
    psi: float | None
    by_chance: float | None
    reading: Reading
    values: int
    values_then: int
    null: float | None
    null_then: float | None
    unknown: float | None
    unknown_then: float | None
    moved: tuple[str, ...]

    @property
    def title(self) -> str:
        """What a person reads."""
        return {"feature": self.name, "length": f"length of {self.name}"}.get(
            self.part, f"score of {self.name}"
        )


def psi(then: Counts, now: Counts) -> NDArray[np.float64]:
    """What each cell adds to the PSI, from (…, C) counts, none of them all zero."""
    p, q = (np.maximum(c / c.sum(-1, keepdims=True), FLOOR) for c in (then, now))
    terms: NDArray[np.float64] = (p - q) * np.log(p / q)
    return terms


def measure(reference: Reference, tally: Tally) -> list[Drift]:
    """Every feature and score, the most moved first.

    Args:
        reference: of the training.
        tally: counts of the scored rows.
    """
    drifts = _each(reference, tally)
    return sorted(drifts, key=lambda drift: (-(drift.psi or 0.0), drift.part, drift.name))


def _each(reference: Reference, tally: Tally) -> Iterator[Drift]:
    for key, expected in reference.expected.items():
        then = expected.counts
        now = tally.counts.get(key, np.zeros_like(then))  # no rows, no counts
        cells = expected.bins.cells
        reserved = cells if key[0] == "feature" else []
        terms = psi(then, now) if then.sum() and now.sum() else None
        total = None if terms is None else float(terms.sum())
        moved = [] if terms is None else [int(c) for c in np.argsort(-terms)[:3] if terms[c] > 0]
        yield Drift(
            *key,
            psi=total,
            by_chance=_by_chance(then, now),
            reading=_reading(key, total, then, now),
            values=int(now.sum()),
            values_then=int(then.sum()),
            null=_share(reserved, now, NULL),
            null_then=_share(reserved, then, NULL),
            unknown=_share(reserved, now, UNKNOWN),
            unknown_then=_share(reserved, then, UNKNOWN),
            moved=tuple(cells[cell] for cell in moved),
        )


def _by_chance(then: Counts, now: Counts) -> float | None:
    if not (then.sum() and now.sum()):
        return None
    cells = np.count_nonzero(then + now)
    return float((cells - 1) * (1 / then.sum() + 1 / now.sum()))


def _reading(key: Key, total: float | None, then: Counts, now: Counts) -> Reading:
    if total is None:
        return "no rows"
    if total < STABLE:
        return "stable"
    if total <= _reached_by_chance(key, then, now):
        return "by chance"
    return "moderate" if total <= LARGE else "large"


def _reached_by_chance(key: Key, then: Counts, now: Counts) -> float:
    """The PSI that one batch in a thousand of that size reaches without drift, by drawing some.

    Drawn, as the floor makes small batches differ from the chi-squared distribution.
    """
    rng = np.random.default_rng([len(key[1]), int(now.sum())])
    shares = (then + now) / (then + now).sum()
    drawn = (rng.multinomial(int(counts.sum()), shares, _DRAWS) for counts in (then, now))
    return float(np.quantile(psi(*drawn).sum(-1), _LEVEL))


def _share(cells: Sequence[str], counts: Counts, cell: str) -> float | None:
    """The reserved cells come last: a category may have such a name."""
    indices = [index for index, name in enumerate(cells) if name == cell]
    return float(counts[indices[-1]] / counts.sum()) if indices and counts.sum() else None
