"""Which split (train, valid, test) a row belongs to, whatever the chunks it arrives in.

Fraction and group splits hash: a row's split depends on its position or group and the seed only,
and the test split stays the same when the valid fraction changes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl

from recsys_mtl.columns.canonical import canonical, factorize, require_category
from recsys_mtl.columns.hashing import uniform
from recsys_mtl.columns.spelling import iso_times
from recsys_mtl.config.data import (
    FileSplitConfig,
    FractionSplitConfig,
    GroupSplitConfig,
    SplitConfig,
    TimeSplitConfig,
)
from recsys_mtl.data.source import Source
from recsys_mtl.errors import UserError, wrong

Codes = npt.NDArray[np.int8]
DROPPED = -1
QUANTILE_ROWS = 2_000_000
_COUNTED_ROWS = 1_000_000  # at a time
_WHERE = "data.split"
_DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True)
class Times:
    """A column's times: numbers as they are, dates as microseconds since 1970 (UTC).

    Attributes:
        values: (N,) int64 or float64, sorted.
        dates: whether the column holds dates.
        complete: whether these are all of them, not a sample.
    """

    values: npt.NDArray[Any]
    dates: bool
    complete: bool


@dataclass(frozen=True)
class Bounds:
    """Borders of a time split: numbers as they are, dates as microseconds since 1970 (UTC).

    Attributes:
        valid_from: first time of valid.
        test_from: first time of test.
        gap: how long before each border rows are dropped.
        dates: whether the column holds dates.
    """

    valid_from: float
    test_from: float
    gap: float
    dates: bool


def assign(
    frame: pl.DataFrame,
    first_row: int,
    split: FractionSplitConfig | GroupSplitConfig | TimeSplitConfig,
    seed: int,
    bounds: Bounds | None = None,
) -> Codes:
    """The split of each row: 0 train, 1 valid, 2 test, -1 dropped (in a time split's gap).

    Args:
        frame: rows, with the split's column.
        first_row: position of the first of them in the source.
        split: how to split.
        seed: of the hash; a time split does not use it.
        bounds: of a time split, from `time_bounds`.

    Raises:
        UserError: a null group or time (names column and row), or a time that cannot be read.
    """
    if isinstance(split, TimeSplitConfig):
        assert bounds is not None, "a time split needs its bounds"
        return _by_time(_as_numbers(frame[split.column], first_row)[0], bounds)
    if isinstance(split, GroupSplitConfig):
        require_category(frame[split.column], f"{_WHERE}.column: column '{split.column}'")
        rows, distinct = factorize(frame[split.column])
        groups = canonical(distinct)
        if groups.has_nulls():
            _no_null(groups.gather(rows), split.column, first_row)
        keys = pd.util.hash_array(groups.to_numpy().astype(object), categorize=False)[rows]
    else:
        keys = np.arange(first_row, first_row + frame.height, dtype=np.uint64)
    return _by_chance(keys, split, seed)


def count_rows(
    source: Source, split: FractionSplitConfig | GroupSplitConfig | TimeSplitConfig, seed: int
) -> tuple[list[int], Bounds | None]:
    """Rows that are dropped, of train, valid and test; and the bounds of a time split.

    One pass over the split's column, none for a fraction of the rows of Parquet; a second pass for
    a time split of more than `QUANTILE_ROWS` rows.

    Raises:
        UserError: the split's column is missing or cannot be read; see `time_bounds`.
    """
    bounds = None
    codes: Iterable[Codes]
    if isinstance(split, TimeSplitConfig):
        times = read_times(source, split.column)
        bounds = time_bounds(times, split)
    if isinstance(split, FractionSplitConfig):
        starts = range(0, source.num_rows, _COUNTED_ROWS)
        ends = (min(start + _COUNTED_ROWS, source.num_rows) for start in starts)
        positions = (np.arange(*p, dtype=np.uint64) for p in zip(starts, ends, strict=True))
        codes = (_by_chance(rows, split, seed) for rows in positions)
    elif bounds is not None and times.complete:
        codes = [_by_time(times.values, bounds)]
    else:
        frames = source.frames([split.column])
        codes = (assign(frame, first_row, split, seed, bounds) for first_row, frame in frames)
    counted = np.zeros(4, dtype=np.int64)
    for some in codes:
        counted += np.bincount(some + 1, minlength=4)
    return counted.tolist(), bounds


def time_bounds(times: Times, split: TimeSplitConfig) -> Bounds:
    """The borders of a time split; those the config leaves out are quantiles of the column.

    Raises:
        UserError: a border is of another type than the column, or valid starts after test.
    """
    values, dates = times.values, times.dates
    gap = split.gap * _DAY if dates else split.gap
    gap = int(gap) if gap.is_integer() else gap  # exact next to integers beyond 2^53

    def border(name: str, given: str | float | None, quantile: float) -> float:
        if given is not None:
            return _border(given, dates=dates, name=name, column=split.column)
        index = math.floor(quantile * len(values) + 1e-9)
        return float("inf") if index >= len(values) else values[max(index, 0)].item()

    valid_from = border("valid_from", split.valid_from, 1.0 - split.test - split.valid)
    test_from = border("test_from", split.test_from, 1.0 - split.test)
    if valid_from > test_from:
        raise wrong(
            "valid starts after test",
            where=_WHERE,
            expected="valid_from before test_from",
            found=f"valid_from {_shown(valid_from, dates)}, test_from {_shown(test_from, dates)}",
            fix="set both data.split.valid_from and data.split.test_from",
        )
    return Bounds(valid_from, test_from, gap, dates)


def require_rows(counts: Mapping[str, int], split: SplitConfig) -> None:
    """Raise a `UserError` if a split has no rows; `counts` may have "dropped" among its keys."""
    empty = [name for name, count in counts.items() if not count and name != "dropped"]
    if not empty:
        return
    if isinstance(split, TimeSplitConfig):
        fix = "move data.split.valid_from or test_from, change the fractions, or lower the gap"
    elif isinstance(split, FileSplitConfig):
        fix = "give files with rows"
    else:
        kind = "groups" if isinstance(split, GroupSplitConfig) else "rows"
        fix = f"change data.split.valid and data.split.test, or give more {kind}"
    raise wrong(
        f"no rows in {' and '.join(empty)}",
        where=f"{_WHERE} (kind {split.kind})",
        expected="rows in every split",
        found=", ".join(f"{name} {count}" for name, count in counts.items()),
        fix=fix,
    )


def read_times(source: Source, column: str) -> Times:
    """A column's times: all up to `QUANTILE_ROWS` rows, else a hashed sample of about as many.

    Quantiles of the sample move borders by some 0.1 % of the rows at most.

    Raises:
        UserError: the column is missing, has nulls, or times that cannot be read.
    """
    held: list[tuple[npt.NDArray[Any], npt.NDArray[np.float64]]] = []
    rows, height, dates = 0, 0, False
    for first_row, frame in source.frames([column]):
        before = dates
        values, dates = _as_numbers(frame[column], first_row)
        if held and dates != before:
            raise _bad_time(column, "numbers and dates")
        rows, height = first_row + len(values), height + len(values)
        held.append((values, uniform(np.arange(first_row, rows, dtype=np.uint64), 0)))
        if height > 2 * QUANTILE_ROWS:
            held = [_thinned_times(held, rows)]
            height = len(held[0][0])
    times, _ = _thinned_times(held, rows)
    times.sort()
    return Times(times, dates, complete=len(times) == rows)


def _thinned_times(
    held: list[tuple[npt.NDArray[Any], npt.NDArray[np.float64]]], rows: int
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """The times, and their chances, that a sample of that many rows keeps."""
    values, chances = (np.concatenate(parts) for parts in zip(*held, strict=True))
    if rows <= QUANTILE_ROWS:
        return values, chances
    kept = chances < QUANTILE_ROWS / rows
    return values[kept], chances[kept]


def _by_chance(
    keys: npt.NDArray[np.uint64], split: FractionSplitConfig | GroupSplitConfig, seed: int
) -> Codes:
    chance = uniform(keys, seed)
    border_test, border_valid = 1.0 - split.test, 1.0 - split.test - split.valid
    return (chance >= border_valid).astype(np.int8) + (chance >= border_test).astype(np.int8)


def _by_time(times: npt.NDArray[Any], bounds: Bounds) -> Codes:
    codes = np.zeros(len(times), dtype=np.int8)
    for border in (bounds.valid_from, bounds.test_from):
        after = times >= border
        codes[after & (codes != DROPPED)] += 1
        codes[~after & (times >= border - bounds.gap)] = DROPPED
    return codes


def _as_numbers(values: pl.Series, first_row: int) -> tuple[npt.NDArray[Any], bool]:
    """Times as numbers (dates: microseconds since 1970, UTC), and whether they are dates."""
    column = values.name
    _no_null(values.fill_nan(None) if values.dtype.is_float() else values, column, first_row)
    if values.dtype.is_numeric():
        integers = values.dtype.is_integer()
        read = values.cast(pl.Int64 if integers else pl.Float64, strict=False)
        if read.has_nulls():
            row = int(read.is_null().arg_max() or 0)
            raise _bad_time(column, f"{values[row]}, beyond 64 bits, in row {first_row + row}")
        return read.to_numpy(), False
    if values.dtype == pl.String:
        whole = values.str.strip_chars().cast(pl.Int64, strict=False)
        if len(whole) and not whole.has_nulls():  # as 0930, which a CSV's reader takes for a code
            return whole.to_numpy(), False
        read = iso_times(values)
        if read.has_nulls():
            row = int(read.is_null().arg_max() or 0)
            raise _bad_time(column, f"'{values[row]}' in row {first_row + row}")
        values = read
    if not isinstance(values.dtype, pl.Date | pl.Datetime):
        raise _bad_time(column, f"type {values.dtype}")
    times = values.cast(pl.Datetime("us", getattr(values.dtype, "time_zone", None)))
    return times.to_physical().to_numpy(), True


def _border(given: str | float, *, dates: bool, name: str, column: str) -> float:
    """A border from the config as a number."""
    where = f"{_WHERE}.{name}"
    if dates != isinstance(given, str):
        expected = "an ISO date" if dates else "a number"
        raise wrong(
            "wrong type",
            where=where,
            expected=f"{expected}, as column '{column}' holds {'dates' if dates else 'numbers'}",
            found=repr(given),
        )
    if not isinstance(given, str):
        return given
    read = iso_times(pl.Series([given]))
    if read.has_nulls():
        raise wrong("no date", where=where, expected="an ISO date or time", found=repr(given))
    return float(read.to_physical()[0])


def _no_null(values: pl.Series, column: str, first_row: int) -> None:
    if values.has_nulls():
        row = first_row + int(values.is_null().arg_max() or 0)
        raise wrong(
            f"column '{column}' is null in row {row} (the first row is 0)",
            where=f"{_WHERE}.column",
            expected="a value in every row",
            fix="fill it, drop those rows, or split by fraction",
        )


def _bad_time(column: str, value: str) -> UserError:
    return wrong(
        f"column '{column}' cannot be read as time",
        where=f"{_WHERE}.column",
        expected="numbers, dates, or ISO text such as 2024-01-31 or 2024-01-31 10:00:00",
        found=value,
        fix="correct the column, or split by fraction or group",
    )


def _shown(border: float, dates: bool) -> str:
    if not dates or math.isinf(border):
        return str(border)
    return str(np.datetime64(int(border), "us"))
