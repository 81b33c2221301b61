"""The one text form of a category, whatever type its column happens to have.

A value that was an integer when the model was fitted may arrive as a float (a null in its column),
as text (CSV) or as JSON later, a time with another unit or separator; all of them must find the
same embedding row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import cast

import numpy as np
import polars as pl
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys_mtl.errors import wrong

ZONE = r"(?:Z|UTC|[+-]\d\d(?::?\d\d)?)"
"""The zone at the end of an ISO time, in any spelling."""
_DIGITS = re.compile(r"(\d+)")
_WHOLE = r"^(-?\d+)\.0+$"
_TRUTHS = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"}
_TIME = r"^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:(\.\d*?[1-9])0*|\.0*)?"
_TIME += r" ?(Z|UTC|[+-]\d\d:?\d\d)?$"
_ODD = rf"{_WHOLE}|^({'|'.join(_TRUTHS)})$|{_TIME}"


def require_category(values: pl.Series, where: str) -> None:
    """Raises a `UserError` for a column whose type has no canonical text."""
    dtype = values.dtype
    if isinstance(dtype, (pl.List, pl.Array)):
        raise wrong(
            "lists in a single-valued column",
            where=where,
            expected="one value a row",
            found=dtype,
            fix="store one value a row, or make the feature kind: categorical_list",
        )
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object, pl.Duration):
        raise wrong(
            "wrong type",
            where=where,
            expected="text, numbers or booleans",
            found=dtype,
            fix="store it as text or numbers, or list it in data.ignore",
        )


def canonical(values: pl.Series) -> pl.Series:
    """Text of each value; null and NaN become null.

    Integers and whole numbers (`3.0` as text too) give `3`, other floats their shortest text,
    booleans (`True` and `TRUE` too) `true`/`false`, decimals lose trailing zeros. Times, and text
    that is an ISO time, give `2024-01-31 10:00:00.5`: no zeros at the end of the fraction, a zone
    as `+00:00`, midnight without a zone as its date. Other text stays as it is.
    """
    values = _without_halves(values)
    dtype = values.dtype
    if dtype.is_float():
        values = values.fill_nan(None)
        integers = values.cast(pl.Int64, strict=False)
        is_integer = (integers.cast(dtype) == values).fill_null(False)
        return integers.cast(pl.String).zip_with(is_integer, values.cast(pl.String))
    if isinstance(dtype, pl.Decimal):
        text = values.cast(pl.String).str.replace(r"(\.\d*?)0+$", "${1}")
        return text.str.strip_chars_end(".")
    if isinstance(dtype, pl.Datetime):
        return _of_text(values.dt.cast_time_unit("us").cast(pl.String))
    text = values.cast(pl.String)
    return text if dtype.is_integer() else _of_text(text)


def canonical_texts(texts: Iterable[str]) -> list[str]:
    """The same of texts that a config names, without spaces around."""
    named = pl.Series(list(texts), dtype=pl.String)
    return canonical(named.str.strip_chars()).to_list() if len(named) else []


def stripped(texts: pl.Series) -> pl.Series:
    """Canonical texts without spaces around; a blank one is null."""
    plain = texts.str.strip_chars()
    padded = (plain != texts).fill_null(False)
    if padded.any():
        texts = texts.scatter(padded.arg_true(), canonical(plain.filter(padded)))
    return texts.replace("", None)


def _of_text(text: pl.Series) -> pl.Series:
    odd = text.str.contains(_ODD).fill_null(False)
    if not odd.any():
        return text
    plain = text.filter(odd).replace(_TRUTHS).str.replace(_WHOLE, "${1}").replace("-0", "0")
    times = plain.str.replace(_TIME, "${1} ${2}${3}${4}").str.replace(r" 00:00:00$", "")
    zoned = times.str.replace(r"(?:Z|UTC)$", "+00:00")
    return text.scatter(odd.arg_true(), zoned.str.replace(r"(:.*[+-]\d\d)(\d\d)$", "${1}:${2}"))


def _without_halves(values: pl.Series) -> pl.Series:
    """A float16 column as the float32 numbers that have the same shortest texts."""
    if values.dtype != pl.Float16:
        return values
    halves, rows = np.unique(values.to_numpy(), return_inverse=True)
    singles = halves.astype(np.float32)
    whole = singles == np.trunc(singles)  # `str` rounds large whole numbers
    singles = np.where(whole, singles, halves.astype(str).astype(np.float32))
    return pl.Series(values.name, singles[rows], nan_to_null=True)


def factorize(values: pl.Series) -> tuple[NDArray[np.int32], pl.Series]:
    """Index of each row's value among the distinct values, and these (null is one of them)."""
    if values.dtype in (pl.Null, pl.Categorical, pl.Enum, pl.Int128, pl.UInt128):
        values = values.cast(pl.String)  # Arrow has no kernel for the type
    values = _without_halves(values)
    encoded = pc.dictionary_encode(values.to_arrow(), null_encoding="encode")
    return encoded.indices.to_numpy(), cast(pl.Series, pl.from_arrow(encoded.dictionary))


def natural_order(texts: Iterable[str]) -> list[str]:
    """Sorted as a person would: runs of digits by their number (`2` before `10`), then by text."""
    return sorted(texts, key=lambda text: (_natural_key(text), text))


def _natural_key(text: str) -> list[tuple[int, int, str]]:
    negative = text.startswith("-") and text[1:].isdecimal()
    if negative:
        return [(-1, int(text), "")]
    parts = _DIGITS.split(text)
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p]
