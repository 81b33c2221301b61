"""Reading numbers, and statistics of a stream in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.rows import Rows
from recsys_mtl.errors import wrong

Floats = NDArray[np.float64]
SAMPLE_ROWS = 200_000
NULL_NUMBERS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null",
)  # fmt: skip
"""Texts that mean missing where numbers are expected."""
_TRUTHS = {"true": "1", "True": "1", "TRUE": "1", "false": "0", "False": "0", "FALSE": "0"}


def parse_numbers(texts: pl.Series, nulls: Sequence[str]) -> tuple[pl.Series, int | None]:
    """Float64 of each text, and the index of the first that is no number.

    Spaces around a number are no harm; true and false are 1 and 0.

    Args:
        texts: strings.
        nulls: those that mean missing, without spaces around.
    """
    numbers = texts.cast(pl.Float64, strict=False)
    if numbers.null_count() == texts.null_count():
        return numbers, None
    left = (numbers.is_null() & texts.is_not_null()).arg_true()
    odd = texts.gather(left).str.strip_chars()
    read = odd.replace(_TRUTHS).cast(pl.Float64, strict=False)
    bad = read.is_null() & ~odd.is_in(list(nulls))
    return numbers.scatter(left, read), left[int(bad.arg_max() or 0)] if bad.any() else None


def require_numbers(values: pl.Series, where: str) -> None:
    """Raises a `UserError` for a column that is not of numbers or booleans."""
    dtype = values.dtype
    if not (dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)):
        raise wrong(
            "wrong type",
            where=where,
            expected="numbers or booleans",
            found=dtype,
            fix="store it as numbers, or choose another kind in the config",
        )


def read_numbers(values: pl.Series, *, where: str, rows: Rows) -> Floats:
    """(B,) float64, NaN where the value is null or NaN.

    Raises:
        UserError: the column is not of numbers or booleans, or holds an infinite value.
    """
    require_numbers(values, where)
    numbers = values.cast(pl.Float64).to_numpy()
    infinite = np.isinf(numbers)
    if infinite.any():
        first = int(infinite.argmax())
        raise wrong(
            "infinite value",
            where=where,
            expected="finite numbers, or null",
            found=rows.describe(float(numbers[first]), first),
            fix="make it null in the data",
        )
    return numbers


def are_numbers(texts: Sequence[str]) -> bool:
    """Whether every text is a number."""
    return not parse_numbers(pl.Series(list(texts), dtype=pl.String), texts)[0].has_nulls()


def read_known(values: pl.Series, nulls: Sequence[str], *, where: str, rows: Rows) -> Floats:
    """`read_numbers` of a column in which some values mean missing; with any, it may be text.

    Args:
        values: the column.
        nulls: the texts of those values.
        where: the column, for messages.
        rows: which they are.

    Raises:
        UserError: as `read_numbers`; or a text is neither a number nor one of `nulls`.
    """
    if not nulls:
        return read_numbers(values, where=where, rows=rows)
    named, _ = parse_numbers(pl.Series(list(nulls), dtype=pl.String), nulls)
    missing = set(named.drop_nulls())
    if values.dtype in (pl.String, pl.Categorical, pl.Enum):
        texts = values
        values, bad = parse_numbers(texts.cast(pl.String), [*NULL_NUMBERS, *nulls])
        if bad is not None:
            raise wrong(
                "not a number",
                where=where,
                expected="a number, or one of null_values",
                found=rows.describe(texts[bad], bad),
                fix="add it to null_values if it means missing",
            )
    elif values.dtype == pl.Float32:
        missing |= {float(np.float32(number)) for number in missing}
    require_numbers(values, where)
    numbers = values.cast(pl.Float64)
    known = numbers.set(numbers.is_in(list(missing)).fill_null(False), None)
    return read_numbers(known, where=where, rows=rows)


class Moments:
    """Weight, mean and standard deviation, merged by Chan, Golub & LeVeque (1979).

    `count` is the sum of the weights: the number of values where there are none.
    """

    def __init__(self) -> None:
        self.count = 0.0
        self.mean = 0.0
        self._squares = 0.0
        self._low = math.inf
        self._high = -math.inf

    def update(self, numbers: Floats, weights: Floats | None = None) -> None:
        """Adds a chunk; it holds no NaN, and all weights are positive."""
        if not len(numbers):
            return
        added = float(len(numbers) if weights is None else weights.sum())
        mean = float(np.average(numbers, weights=weights))
        distances = (numbers - mean) ** 2
        squares = float((distances if weights is None else weights * distances).sum())
        total = self.count + added
        apart = mean - self.mean
        self._squares += squares + apart**2 * (self.count / total) * added
        self.mean += apart * (added / total)
        self.count = total
        self._low = min(self._low, float(numbers.min()))
        self._high = max(self._high, float(numbers.max()))

    @property
    def sd(self) -> float:
        """Population standard deviation; exactly 0 where all numbers are equal, or are none."""
        return math.sqrt(self._squares / self.count) if self._low < self._high else 0.0


class Sample:
    """The values with the smallest row hashes: a uniform sample that ignores chunk boundaries.

    Weights count in the quantiles, not in what is sampled.
    """

    def __init__(self, size: int = SAMPLE_ROWS) -> None:
        self._size = size
        self._parts = [(np.empty(0), np.empty(0, np.uint64), np.empty(0))]
        self._limit = np.iinfo(np.uint64).max

    def update(
        self, numbers: Floats, hashes: NDArray[np.uint64], weights: Floats | None = None
    ) -> None:
        """Adds a chunk of values with the hashes of their rows, and positive weights."""
        low = np.flatnonzero(hashes <= self._limit)
        own = np.ones(len(low)) if weights is None else weights[low]
        self._parts.append((numbers[low], hashes[low], own))
        # sums of weights that differ depend on their order, so these are cut at every chunk
        held = sum(len(values) for values, _, _ in self._parts)
        if held > (2 * self._size if weights is None else self._size):
            self._cut()

    def _cut(self) -> None:
        """Keep the values of the smallest hashes."""
        if len(self._parts) == 1:
            return
        values, hashes, weights = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        if len(hashes) > self._size:
            kept = np.argpartition(hashes, self._size - 1)[: self._size]
            values, hashes, weights = values[kept], hashes[kept], weights[kept]
            self._limit = int(hashes.max())
        self._parts = [(values, hashes, weights)]

    def __len__(self) -> int:
        return len(self.rows()[0])

    @property
    def values(self) -> Floats:
        """The sampled values, in no order."""
        return self.rows()[0]

    def median(self) -> float:
        """The median; 0 of no value."""
        if not len(self):
            return 0.0
        return float(np.median(self.values) if self._alike else self.quantiles(np.array([0.5]))[0])

    def quantiles(self, levels: Floats) -> Floats:
        """Quantiles: between two values interpolated where all weights are equal, else a value."""
        if self._alike:
            return np.quantile(self.values, levels)
        values, weights = self.rows()
        return np.quantile(values, levels, weights=weights, method="inverted_cdf")

    def rows(self) -> tuple[Floats, Floats]:
        """Values and weights."""
        self._cut()
        ((values, _, weights),) = self._parts
        return values, weights

    @property
    def _alike(self) -> bool:
        weights = self.rows()[1]
        return bool((weights == weights[0]).all())
