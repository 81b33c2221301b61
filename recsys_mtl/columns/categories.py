"""`Categories`: base of the coders that know their categories, each with a row of its own."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.coder import FIRST_ROW, Coder

_NEW = 0.01  # share of new values from which rare ones are the unknown row's examples


@dataclass
class Categories(Coder):
    """Each training category that is frequent enough has a row of its own.

    Attributes:
        min_count: categories of fewer rows share the unknown row. Weights do not count here: an
            embedding needs rows to learn from, and one row of weight 10 is one example. 0: the fit
            decides, and the number is here afterwards. Categories seen once hold about the share
            of the rows that new ones will hold (Good 1953). If it is at least 1 %, the number is
            2, so that the unknown row is trained as often as it will be read, else 1.
        max_size: number of categories to keep, those of the most weight.
    """

    min_count: int = 1
    max_size: int | None = None

    @abstractmethod
    def texts(self) -> pl.Series:
        """(rows - 2,) the categories by falling weight, equal weights by text."""

    @abstractmethod
    def row_counts(self) -> NDArray[np.int64]:
        """(rows - 2,) training rows of each, after a fit."""

    def _decide_min_count(self, share_seen_once: float) -> None:
        """Sets a `min_count` of 0 by the share of the training rows whose category is theirs."""
        if not self.min_count:
            self.min_count = 2 if share_seen_once >= _NEW else 1

    def unknown_rates(self, alpha: float) -> NDArray[np.float32]:
        """(rows,) probability that a training batch reads a row as the unknown one, after a fit.

        α / (n + α) of a category with n training rows: word dropout (Iyyer et al. 2015) in the form
        of Kiperwasser & Goldberg 2016, who take 0.25. 0 of unknown and null.
        """
        known = alpha / (self.row_counts() + alpha)
        return np.concatenate([np.zeros(FIRST_ROW), known]).astype(np.float32)

    def same_rows(self, other: Coder) -> NDArray[np.int64]:
        """(rows,) the row of the same value, in any spelling, in another vocabulary."""
        if not isinstance(other, Categories):
            return super().same_rows(other)
        rows = other.codes(self.texts())
        own = np.where(rows < FIRST_ROW, -1, rows)
        return np.concatenate([np.arange(FIRST_ROW), own])
