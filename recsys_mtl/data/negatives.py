"""Negatives of one task, thinned while training rows are read.

Shapes: B rows, T tasks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch

from recsys_mtl.columns.hashing import uniform
from recsys_mtl.columns.rows import ROW
from recsys_mtl.config.schema import Config
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.preprocess import Preprocessor

_AFTER_SPLIT_AND_SAMPLES = 2  # the seed itself splits, the next one takes samples


@dataclass(frozen=True)
class Negatives:
    """Keeps a share of the training rows on which a task did not happen, and all other rows.

    Which ones depends on row number and seed alone, not on how rows are read; a smaller share keeps
    some of the same. A kept negative stands for 1 / keep rows, by its weight: every mean over
    weighted rows is, in expectation, that over all rows. The loss of the task itself needs no such
    weights: see `TaskLoss.keep`.

    Attributes:
        rows: reads its labels and weights; need not be fitted.
        task: whose negatives, a yes/no label.
        column: of its labels in a batch.
        keep: share.
        seed: decides which.
    """

    rows: Preprocessor
    task: str
    column: int
    keep: float
    seed: int

    @classmethod
    def of(cls, config: Config) -> Negatives | None:
        """Those that a config asks for."""
        section = config.data.negatives
        if section is None:
            return None
        read = [section.task]
        while parent := config.tasks[read[-1]].parent:
            read.append(parent)
        tasks = {name: task for name, task in config.tasks.items() if name in read}
        rows = Preprocessor.unfitted({}, tasks, weight=config.data.weight, default_dim="auto")
        column = list(config.tasks).index(section.task)
        return cls(rows, section.task, column, section.keep, config.seed)

    @property
    def columns(self) -> list[str]:
        """Raw columns that it reads, each once."""
        return self.rows.columns(labels=True)

    def thinned(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of a frame with `ROW` that are kept."""
        numbers = frame[ROW].cast(pl.UInt64).to_numpy()
        chosen = uniform(numbers, self.seed + _AFTER_SPLIT_AND_SAMPLES) < self.keep
        positive = self.rows.targets(self.task, frame) != 0  # unlabelled rows are no negatives
        return frame.filter(pl.Series(np.logical_or(chosen, positive)))

    def weighted(self, batch: Batch) -> Batch:
        """Kept rows with the weights that make up for those that are not."""
        negative = batch.labels[:, self.column] == 0
        weights = torch.where(negative, batch.weights / self.keep, batch.weights)
        return replace(batch, weights=weights)
