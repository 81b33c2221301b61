"""Item columns: ids that act on the scores themselves, independently of the state.

Each id is of a hidden type; each frequent id has a separate one. A type has an effect on every
score. Under the ids' probabilities the effects have mean 0 and the scores' planned correlations
exactly, not only in expectation over the types.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_synth.relations import square_root
from data_synth.response import Floats
from data_synth.state import Floats32
from data_synth.targets.base import Rng
from data_synth.zipf import Ints, Zipf

_TYPES = 2048


@dataclass(frozen=True)
class Items:
    """One item column.

    Attributes:
        zipf: how its ids are used.
        effects: (types, T) effect on each score, variance 1 (0 where ids are idle).
    """

    zipf: Zipf
    effects: Floats32

    @classmethod
    def draw(cls, zipf: Zipf, relation: Floats, rng: Rng) -> Items:
        """Give every type its effects; relation (T, T)."""
        types = min(zipf.ids, _TYPES)
        chances = np.bincount(np.arange(zipf.ids) % types, zipf.chances(), minlength=types)
        raw = rng.standard_normal((types, len(relation)))
        raw -= chances @ raw
        spread = raw.T @ (chances[:, None] * raw)
        whitened = np.linalg.solve(square_root(spread), raw.T).T
        return cls(zipf, (whitened @ square_root(relation)).astype(np.float32))

    @classmethod
    def idle(cls, zipf: Zipf, tasks: int) -> Items:
        """Ids without an effect."""
        return cls(zipf, np.zeros((1, tasks), dtype=np.float32))

    def act(self, ranks: Ints) -> Floats32:
        """(R, T) effects of the ids of these ranks."""
        return self.effects[ranks % len(self.effects)]
