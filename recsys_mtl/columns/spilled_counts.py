"""`SpilledCounts`: counts of more categories than memory should hold while rows are read."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import polars as pl

from recsys_mtl.columns.lookup import FAST_INTEGERS, Counts
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
        self._integers: list[pl.DataFrame] = []
        self._integer_parts: list[Path] = []
        self._written = 0

    def update(self, values: pl.Series, weights: Floats | None = None) -> None:
        """Counts the values of one chunk; see `Counts`."""
        if weights is None and values.dtype in FAST_INTEGERS:
            self._update_integers(values)
            return
        super().update(values, weights)
        if self._held > _SPILLED_FROM:
            self._spill()

    def _update_integers(self, values: pl.Series) -> None:
        """The same of integers, which have one text each: several times as fast."""
        keys = values.drop_nulls().cast(pl.Int64).alias("key")
        self._integers.append(keys.value_counts(name="rows").cast({"rows": pl.UInt64}))
        if sum(part.height for part in self._integers) > _SPILLED_FROM:
            self._integers = [pl.concat(self._integers).group_by("key").agg(pl.col("rows").sum())]
            if 2 * self._integers[0].height > _SPILLED_FROM:
                self._integer_parts.append(self._next_part)
                self._integers.pop().write_parquet(self._integer_parts[-1])

    @property
    def share_seen_once(self) -> float:
        """Share of the rows whose category has no other row; 0 without rows."""
        once, rows = (
            self._total.select((pl.col("rows") == 1).sum().alias("once"), pl.col("rows").sum())
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
        kept = self._total.filter(
            ~pl.col("text").is_in([*without, "NaN"]), pl.col("rows") >= least
        ).sort("mass", "text", descending=[True, False])
        kept = kept if most is None else kept.head(most)
        return kept.select("text", "rows").collect(engine="streaming")

    @cached_property
    def _total(self) -> pl.LazyFrame:
        """Each category once; nothing can be counted afterwards."""
        totals: list[pl.LazyFrame] = []
        if self._integers or self._integer_parts:
            parts = [part.lazy() for part in self._integers]
            parts += [pl.scan_parquet(part) for part in self._integer_parts]
            keys = pl.concat(parts).group_by("key").agg(pl.col("rows").sum())
            text, mass = pl.col("key").cast(pl.String), pl.col("rows").cast(pl.Float64)
            totals.append(self._stored(keys.select(text.alias("text"), "rows", mass.alias("mass"))))
            self._integers = []
        if self._parts:
            self._spill()
            totals.append(self._stored(self._added(pl.scan_parquet(self._parts))))
        else:
            self._merge()
            totals += [self._merged.lazy()] if self._merged.height or not totals else []
        return totals[0] if len(totals) == 1 else self._stored(self._added(pl.concat(totals)))

    def _added(self, counts: pl.LazyFrame) -> pl.LazyFrame:
        texts = counts.group_by("text", maintain_order=self._weighted)  # floats add up in one order
        return texts.agg(pl.col("rows").sum(), pl.col("mass").sum())

    def _stored(self, counts: pl.LazyFrame) -> pl.LazyFrame:
        path = self._next_part
        counts.sink_parquet(path)
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
