"""Bins of one column: how values become counts, and what each count is called.

Counts of the same bins add up, whatever rows they are of. C cells a count has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from recsys_mtl.columns.coder import FIRST_ROW, NULL_ROW, UNKNOWN_ROW

Counts = NDArray[np.int64]
NULL, UNKNOWN, OTHER = "null", "unknown", "other known"
_LARGEST = float(np.finfo(np.float32).max)
_INNER_QUANTILES = np.linspace(0.1, 0.9, 9)
_MOST_FREQUENT = 50


@dataclass(frozen=True)
class NumberBins:
    """Ten quantile bins, then null; a value that several quantiles share has a bin of its own.

    Numbers are compared in float32, as a column may be stored in that type.

    Attributes:
        edges: rising; each is the first number of a bin, and below the first there is one more.
    """

    kind: ClassVar[str] = "numbers"
    edges: tuple[float, ...]

    @classmethod
    def of(cls, numbers: ArrayLike) -> NumberBins:
        """Bins of a sample; NaN is null."""
        sample = _float32(numbers)
        sample = sample[~np.isnan(sample)]
        if not len(sample):
            return cls(())
        # an edge is a value that occurs: a number between two would not survive float32
        quantiles = np.quantile(sample, _INNER_QUANTILES, method="inverted_cdf")
        edges, uses = np.unique(quantiles, return_counts=True)
        repeated = edges[(uses > 1) & (edges < np.finfo(np.float32).max)]
        return cls(tuple(np.union1d(edges, np.nextafter(repeated, np.float32(np.inf))).tolist()))

    @property
    def cells(self) -> list[str]:
        """(C,) names of the counts."""
        if not self.edges:
            return ["any", NULL]
        texts = [f"{edge:.6g}" for edge in self.edges]
        inner = [f"{low} – {high}" for low, high in pairwise(texts)]
        return [f"< {texts[0]}", *inner, f"≥ {texts[-1]}", NULL]

    def count(self, numbers: ArrayLike) -> Counts:
        """(C,) counts."""
        values = _float32(numbers)
        indices = np.searchsorted(np.array(self.edges, np.float32), values, side="right")
        indices[np.isnan(values)] = len(self.edges) + 1
        return np.bincount(indices, minlength=len(self.edges) + 2)


@dataclass(frozen=True)
class CategoryBins:
    """The most frequent categories, then the other known ones, unknown ones and null.

    Attributes:
        rows: rows of the embedding table that have a bin of their own.
        names: of those categories.
        table_rows: rows of the complete table.
    """

    kind: ClassVar[str] = "categories"
    rows: tuple[int, ...]
    names: tuple[str, ...]
    table_rows: int

    @classmethod
    def of(
        cls, codes: NDArray[np.int64], table_rows: int, values: Sequence[object]
    ) -> CategoryBins:
        """Bins of a sample of codes.

        Args:
            codes: rows of the table.
            table_rows: how many there are.
            values: the known categories in the order of their rows; empty where they are hashed.
        """
        known, counts = np.unique(codes[codes >= FIRST_ROW], return_counts=True)
        ranked = np.argsort(-counts, kind="stable")[:_MOST_FREQUENT]
        indices = (known[ranked] - FIRST_ROW).tolist()
        names = tuple(str(values[i]) if values else f"bucket {i}" for i in indices)
        return cls(tuple(FIRST_ROW + i for i in indices), names, table_rows)

    @property
    def cells(self) -> list[str]:
        """(C,) names of the counts."""
        return [*self.names, OTHER, UNKNOWN, NULL]

    def count(self, codes: NDArray[np.int64]) -> Counts:
        """(C,) counts."""
        return np.bincount(self._cell_of_row[codes], minlength=len(self.rows) + 3)

    @cached_property
    def _cell_of_row(self) -> NDArray[np.uint8]:
        """(table rows,) cell of each."""
        cells = np.full(self.table_rows, len(self.rows), np.uint8)
        cells[list(self.rows)] = np.arange(len(self.rows))
        cells[UNKNOWN_ROW], cells[NULL_ROW] = len(self.rows) + 1, len(self.rows) + 2
        return cells


@dataclass(frozen=True)
class ClassBins:
    """One bin a class.

    Attributes:
        names: of the classes.
    """

    kind: ClassVar[str] = "classes"
    names: tuple[str, ...]

    @property
    def cells(self) -> list[str]:
        """(C,) names of the counts."""
        return list(self.names)

    def count(self, classes: pl.Series) -> Counts:
        """(C,) counts."""
        indices = classes.cast(self._type).to_physical().to_numpy()
        return np.bincount(indices, minlength=len(self.names))

    @cached_property
    def _type(self) -> pl.Enum:
        return pl.Enum(self.names)


Bins = NumberBins | CategoryBins | ClassBins
_KINDS: dict[str, type[Bins]] = {b.kind: b for b in (NumberBins, CategoryBins, ClassBins)}


def bins_to_dict(bins: Bins) -> dict[str, Any]:
    """JSON-able form, restored by `bins_from_dict`."""
    return {"kind": bins.kind} | {f.name: getattr(bins, f.name) for f in fields(bins)}


def bins_from_dict(stored: dict[str, Any]) -> Bins:
    """The bins that `bins_to_dict` stored."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in stored.items()
        if name != "kind"
    }
    return _KINDS[stored["kind"]](**values)


def _float32(numbers: ArrayLike) -> NDArray[np.float32]:
    return np.clip(np.asarray(numbers, np.float64), -_LARGEST, _LARGEST).astype(np.float32)
