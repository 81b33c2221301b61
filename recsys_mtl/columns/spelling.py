"""One spelling for numbers and moments that writers spell differently.

`1.50`, `1.5E0` and `15e-1` are one number; a canonical text (`canonical`) keeps them apart, as a
version `1.10` is not `1.1`. A look-up that does not know a text tries this spelling of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import polars as pl

from recsys_mtl.columns.canonical import ZONE, canonical, canonical_texts, stripped

_PLAIN = r"-?(?:0|[1-9]\d*)"
_EXPONENT = r"[eE](?:[+-]\d{1,4}|0|[1-9]\d{0,3})"
_DECIMAL = rf"^(?:{_PLAIN}(?:\.\d+)?|-?\.\d+)(?:{_EXPONENT})?$"
_TIME = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?"
_MOMENT, _ZONED = rf"{_TIME}(?: ?{ZONE})?$", rf"{_TIME} ?{ZONE}$"
_TO_THE_MINUTE = rf"^(\d{{4}}-\d\d-\d\d)[T ](\d\d:\d\d)( ?{ZONE})?$"
_SPELT_MOMENT = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{0,5}[1-9])?(?:\+00:00)?$"
_TIME_OF_DAY = r"^\d\d:\d\d:\d\d\.\d+$"
_WORDS = {"true": "1", "false": "0", "-0": "0", "Infinity": "inf", "-Infinity": "-inf"}
_NANS = ("NaN", "nan")
_ODD = "|".join([_DECIMAL, _MOMENT, _TIME_OF_DAY, rf"^(?:{'|'.join([*_WORDS, *_NANS])})$"])
_WHOLE_LIMIT = 2.0**64
_SINGLE = float(np.finfo(np.float32).max)


def one_spelling(texts: pl.Series) -> pl.Series:
    """Canonical texts, those of one number or moment alike; not-a-number is null.

    A number has no exponent and no zeros at its end. A fraction that float32 holds exactly has the
    shortest text of a float32, any other that of a float64. `true` is 1. A moment with a zone is in
    UTC; a time of day has whole seconds. Spaces around do not count, a blank text is null.
    """
    texts = in_utc(stripped(texts))
    odd = texts.str.contains(_ODD) & ~texts.str.contains(rf"^{_PLAIN}$|{_SPELT_MOMENT}")
    odd = odd.fill_null(False) | (texts == "-0").fill_null(False)
    if not odd.any():
        return texts
    spelt = [_spelt(text) for text in texts.filter(odd)]
    return texts.scatter(odd.arg_true(), pl.Series(spelt, dtype=pl.String))


def has_zone(text: str) -> bool:
    """Whether a canonical text is a moment with a zone."""
    return re.match(_ZONED, text) is not None


def is_moment(text: str) -> bool:
    """Whether a canonical text is a moment."""
    return re.match(_MOMENT, text) is not None


def with_seconds(texts: pl.Series) -> pl.Series:
    """Texts, moments to the minute as canonical ones."""
    return texts.str.replace(_TO_THE_MINUTE, "${1} ${2}:00${3}").str.replace(r" 00:00:00$", "")


def iso_times(texts: pl.Series) -> pl.Series:
    """ISO 8601 dates and times (null where it is none) as UTC times without zone."""
    plain = texts.str.strip_chars().str.replace(r"^(\S{8,10})T", "${1} ")
    plain = plain.str.replace(f" ({ZONE})$", "${1}").str.replace("(?:Z|UTC)$", "+0000")
    plain = plain.str.replace(r"^([^:]*:\d+)([+-][\d:]+|z)?$", "${1}:00${2}")  # to the minute
    text, form = pl.col("t"), "%Y-%m-%d %H:%M:%S%.f"
    dated = text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    timed = text.str.to_datetime(form, strict=False, time_unit="us")
    zoned = text.str.to_datetime(f"{form}%#z", strict=False, time_unit="us", time_zone="UTC")
    read = pl.coalesce(dated, timed, zoned.dt.replace_time_zone(None))
    return plain.alias("t").to_frame().select(read).to_series().alias(texts.name)


def in_utc(texts: pl.Series) -> pl.Series:
    """Canonical texts, moments with a zone in UTC."""
    zoned = texts.str.contains(_ZONED).fill_null(False)
    if not zoned.any():
        return texts
    some = texts.filter(zoned)
    moments = some.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%:z", time_zone="UTC", strict=False)
    spelt, left = canonical(moments), moments.is_null().arg_true()
    spelt = spelt.scatter(left, [_moment(text) for text in some[left]])
    return texts.scatter(zoned.arg_true(), spelt)


def null_texts(texts: Iterable[str]) -> list[str]:
    """Canonical texts of values that mean null, and the one spelling of those that are numbers."""
    named = canonical_texts(texts)
    if not named:
        return []
    spelt = one_spelling(pl.Series(named, dtype=pl.String))
    others = [t for name, t in zip(named, spelt, strict=True) if t and name not in _WORDS]
    return list(dict.fromkeys([*named, *others]))


def _spelt(text: str) -> str | None:
    if text in _NANS:
        return None
    if text in _WORDS:
        return _WORDS[text]
    if re.match(_TIME_OF_DAY, text):
        return text[:8]
    return _moment(text) if ":" in text else _number(text)


def _number(text: str) -> str:
    exact, number = Decimal(text), float(text)
    if not np.isfinite(number) or (number == 0 and exact != 0):
        return text
    has_exponent = "e" in text.lower()
    if not has_exponent and exact == exact.to_integral_value():
        return str(int(exact))
    if number.is_integer() and abs(number) < _WHOLE_LIMIT:
        return str(int(number))
    single = np.float32(number) if abs(number) <= _SINGLE else np.float32(0)
    shortest = str(single) if float(single) == number else repr(number)
    return format(Decimal(shortest).normalize(), "f")


def _moment(text: str) -> str:
    zoned = re.sub(r" ?(?:Z|UTC)$", "+00:00", text).replace(" +", "+").replace(" -", "-")
    try:
        moment = datetime.fromisoformat(zoned)
        moment = moment if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return text
    spelt = moment.replace(tzinfo=None).isoformat(" ")
    spelt = spelt.rstrip("0") if moment.microsecond else spelt
    return spelt.removesuffix(" 00:00:00") if moment.tzinfo is None else f"{spelt}+00:00"
