"""`Tally`: rows and their counts for drift, which add up over chunks and parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from recsys_mtl.columns.bins import Counts
from recsys_mtl.data.batch import Batch
from recsys_mtl.serving.predictor import Predictor
from recsys_mtl.serving.reference import Key, Reference


@dataclass(frozen=True)
class Tally:
    """Counts of rows in the bins of a reference; empty where nothing is counted."""

    rows: int = 0
    counts: Mapping[Key, Counts] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        reference: Reference | None,
        predictor: Predictor,
        frame: pl.DataFrame,
        batch: Batch,
        scores: pl.DataFrame,
    ) -> Tally:
        """Of one chunk: raw, encoded and predicted rows."""
        if reference is None:
            return cls(frame.height)
        return cls(frame.height, reference.count(predictor, frame, batch, scores))

    def __add__(self, other: Tally) -> Tally:
        counts = {**self.counts, **other.counts}
        both = self.counts.keys() & other.counts.keys()
        added = {key: self.counts[key] + other.counts[key] for key in both}
        return Tally(self.rows + other.rows, counts | added)

    def to_json(self) -> dict[str, Any]:
        """JSON-able form, restored by `from_json`."""
        counts = [[*key, counted.tolist()] for key, counted in self.counts.items()]
        return {"rows": self.rows, "counts": counts}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Tally:
        """The tally that `to_json` stored."""
        counts: dict[Key, Counts] = {
            (part, name): np.array(counted, np.int64) for part, name, counted in stored["counts"]
        }
        return cls(stored["rows"], counts)
