"""`SpilledCounts`: counts of more categories than memory should hold while rows are read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from recsys_mtl.columns.lookup import Counts
from recsys_mtl.columns.numbers import Floats
from recsys_mtl.files import temporary_folder

_SPILLED_FROM = 2_000_000  # categories in memory


class SpilledCounts(Counts):
    """Counts that are written to Parquet now and then, and added up by polars' streaming engine."""

    def __init__(self) -> None:
        super().__init__()
        self._none = self._merged
        self._folder = temporary_folder(self)
        self._parts: list[Path] = []
        self._written = 0

    def update(self, values: pl.Series, weights: Floats | None = None) -> None:
        """Counts the values of one chunk; see `Counts`."""
        super().update(values, weights)
        if self._merged.height + sum(part.height for part in self._pending) > _SPILLED_FROM:
            self._spill()

    @property
    def share_seen_once(self) -> float:
        """Share of the rows whose category has no other row; 0 without rows."""
        once, rows = (
            self._total()
            .select((pl.col("rows") == 1).sum().alias("once"), pl.col("rows").sum())
            .collect(engine="streaming")
            .row(0)
        )
        return float(once / max(rows, 1))

    def ordered(self, *, without: Iterable[str], least: int, most: int | None) -> pl.DataFrame:
        """`text` and `rows` (their number) of each category, the largest weight first, as `ranked`.

        Args:
            without: categories to leave out.
            least: rows that a category has at least.
            most: number of categories to keep; None: all.
        """
        kept = (
            self._total()
            .filter(~pl.col("text").is_in([*without, "NaN"]), pl.col("rows") >= least)
            .sort("mass", "text", descending=[True, False])
        )
        kept = kept if most is None else kept.head(most)
        return kept.select("text", "rows").collect(engine="streaming")

    def _total(self) -> pl.LazyFrame:
        if not self._parts:
            self._merge()
            return self._merged.lazy()
        self._spill()
        parts = pl.scan_parquet(self._parts)
        total = parts.group_by("text", maintain_order=self._weighted)  # floats add up in one order
        path = self._next_part
        total.agg(pl.col("rows").sum(), pl.col("mass").sum()).sink_parquet(path)
        self._parts = [path]
        return pl.scan_parquet(path)

    def _spill(self) -> None:
        self._merge()
        if self._merged.height:
            self._parts.append(self._next_part)
            self._merged.write_parquet(self._parts[-1])
            self._merged = self._none

    @property
    def _next_part(self) -> Path:
        self._written += 1
        return self._folder / f"{self._written}.parquet"
