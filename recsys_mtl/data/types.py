"""Types of stored columns: what each is read as, and the type that holds those of several files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as of

from recsys_mtl.columns.canonical import canonical
from recsys_mtl.columns.spelling import one_spelling
from recsys_mtl.errors import wrong

Role = Literal["numbers", "text"] | None
"""What a column is to the config; None: neither a number nor a category (a time, a key)."""
READ = "numbers, booleans, text, dates, times, or lists of these"
_EXTENSIONS = {"arrow.uuid": pa.large_string(), "arrow.bool8": pa.bool_()}
_NUMBERS = {"integer", "unsigned 64", "float", "decimal", "bool"}
_TEXTUAL = {*_NUMBERS, "text", "date", "timestamp", "timestamp with a zone", "time"}
_MICROSECONDS = {"s": 10**6, "ms": 10**3, "us": 1, "ns": 1}
_LAST = (
    2 * 10**5 * 366 * 86_400 * 10**6
)  # year 200,000: polars ends some decades of millennia later


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values, whatever their encoding: dictionaries decoded, one text type."""
    if of.is_dictionary(kind) or of.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return _EXTENSIONS.get(kind.extension_name) or plain_type(kind.storage_type)
    if of.is_string(kind) or of.is_string_view(kind) or _is_bytes(kind):
        return pa.large_string()
    if of.is_decimal(kind) and kind.precision <= 38:
        return pa.decimal128(kind.precision, kind.scale)
    if of.is_date64(kind):
        return pa.date32()
    return pa.large_list(plain_type(kind.value_type)) if _is_list(kind) else kind


def is_pattern(name: str) -> bool:
    """Whether polars takes the name of a column for a pattern, so that it cannot be read."""
    return name.startswith("^") and name.endswith("$")


def common_type(kinds: Iterable[pa.DataType], role: Role) -> pa.DataType | None:
    """The type that a column of these plain types is read as; None where they cannot be one.

    Types of one family have the widest of them; other numbers are float64, in a categorical column
    canonical text, as anything else is there that is no list. Null is of any type.
    """
    distinct = list(dict.fromkeys(kind for kind in kinds if not of.is_null(kind)))
    if not distinct:
        return pa.null()
    if not all(_is_readable(kind) for kind in distinct):
        return None
    first = distinct[0]
    if len(distinct) == 1 and not of.is_decimal256(first):
        return first
    families = {_family(kind) for kind in distinct}
    if len(families) == 1 and families <= {"integer", "float", "time"}:
        pair = [pa.schema([("x", kind)]) for kind in distinct]
        return pa.unify_schemas(pair, promote_options="permissive").field("x").type
    if families == {"list"}:
        inner = common_type((kind.value_type for kind in distinct), role)
        return None if inner is None else pa.large_list(inner)
    if families <= {"date", "timestamp"}:
        return pa.timestamp("us")
    if families == {"timestamp with a zone"}:
        return pa.timestamp("us", "UTC")
    if families <= _NUMBERS and role != "text":
        return pa.float64()
    zones = len(families & {"timestamp", "timestamp with a zone"})
    return pa.large_string() if role == "text" and families <= _TEXTUAL and zones < 2 else None


def are_numbers(kind: pa.DataType) -> bool:
    """Whether the values are numbers, not booleans."""
    return any(is_kind(kind) for is_kind in (of.is_integer, of.is_floating, of.is_decimal))


def read_array(array: pa.Array, role: Role, where: str) -> pl.Series:
    """A column of any type as polars has it.

    Raises:
        UserError: its type is none that is read, or it holds bytes that are no text or dates that
            are out of range.
    """
    kind = common_type([plain_type(array.type)], role)
    if kind is None:
        fix = "give it another type, or leave it out"
        raise wrong("wrong type", where=where, expected=READ, found=array.type, fix=fix)
    values = pl.Series(pl.from_arrow(readable(array, kind, where)))
    return converted(values, values.dtype, numbers=False)


def readable(array: pa.Array, target: pa.DataType, where: str) -> pa.Array:
    """`decoded`, and dates are in the range of polars.

    Raises:
        UserError: there are bytes that are no text, or dates out of range.
    """
    try:
        plain = decoded(array, target)
    except pa.ArrowInvalid as error:
        raise wrong(
            "bytes that are no text",
            where=where,
            expected="text in UTF-8",
            found=array.type,
            fix="store it as text (such as hex), or leave the column out",
        ) from error
    if of.is_date(plain.type) or of.is_timestamp(plain.type):
        require_dates(pl.Series(pl.from_arrow(plain)), where)
    return plain


def is_odd_list(kind: pa.DataType) -> bool:
    """Whether lists are stored in a form that Arrow's reader does not read back in all cases."""
    odd = (of.is_fixed_size_list, of.is_list_view, of.is_large_list_view)
    return any(is_kind(kind) for is_kind in odd)


def decoded(array: pa.Array, target: pa.DataType) -> pa.Array:
    """The values in their plain type.

    Args:
        array: a stored column.
        target: what it is to become; matters to decimals beyond 38 digits only.

    Raises:
        ArrowInvalid: bytes that are no text in UTF-8.
    """
    kind, plain = array.type, plain_type(array.type)
    if of.is_decimal256(plain):
        return pc.cast(array, target)
    if kind == plain:
        return array
    if of.is_run_end_encoded(kind):
        return decoded(pc.run_end_decode(array), target)
    if of.is_dictionary(kind):
        return decoded(array.dictionary_decode(), target)
    if isinstance(kind, pa.BaseExtensionType):
        if kind == pa.uuid():
            return _hyphenated(array.storage)
        return pc.cast(decoded(array.storage, target), plain)
    if is_odd_list(kind):  # a cast breaks the offsets of a list_view that ends with null
        return _lists(pc.list_flatten(array), pc.list_value_length(array))
    if _is_list(kind):
        return pc.cast(array, pa.large_list(kind.value_type))
    return pc.cast(pc.cast(array, pa.large_binary()) if _is_bytes(kind) else array, plain)


def converted(values: pl.Series, target: pl.DataType, *, numbers: bool) -> pl.Series:
    """The values of one file in the type that all files share.

    Args:
        values: of a plain type.
        target: that type.
        numbers: whether some file has numbers in this column, so that a text may be one.
    """
    if isinstance(target, pl.List) and isinstance(values.dtype, pl.List | pl.Array):
        lists = values.cast(pl.List(values.dtype.inner))
        flat = lists.explode(empty_as_null=False, keep_nulls=False)
        texts = converted(flat, pl.Series(dtype=target.inner).dtype, numbers=numbers).to_arrow()
        joined = _lists(texts, lists.list.len().to_arrow())
        return pl.Series(values.name, joined).cast(target)
    if target != pl.String or (values.dtype == target and not numbers):
        return values.cast(target)
    is_text = values.dtype in (pl.String, pl.Categorical, pl.Enum, pl.Binary)
    texts = values.cast(pl.String) if is_text else canonical(values)
    return one_spelling(canonical(texts)) if numbers else texts


def require_dates(values: pl.Series, where: str) -> None:
    """Raises a `UserError` for a column that holds dates so far away that they have no text."""
    if values.dtype == pl.Date:
        unit = 86_400 * 10**6
    elif isinstance(values.dtype, pl.Datetime):
        unit = _MICROSECONDS[values.dtype.time_unit]
    else:
        return
    stored = values.to_physical().drop_nulls().to_numpy()
    far = (stored < -(_LAST // unit)) | (stored > _LAST // unit)
    if far.any():
        raise wrong(
            "no date",
            where=where,
            expected="dates before the year 200,000",
            found=f"{stored[far.argmax()]} as {values.dtype}",
            fix="check the unit in which it was written",
        )


def _lists(flat: pa.Array, lengths: pa.Array) -> pa.Array:
    """Lists of the values one after another; null where the length is."""
    ends = np.cumsum(pc.fill_null(pc.cast(lengths, pa.int64()), 0).to_numpy())
    null = np.append(pc.is_null(lengths).to_numpy(zero_copy_only=False), False)
    return pa.LargeListArray.from_arrays(pa.array(np.insert(ends, 0, 0), mask=null), flat)


def _hyphenated(array: pa.Array) -> pa.Array:
    """UUIDs as text."""
    text = pl.Series("t", pc.cast(array, pa.large_binary())).bin.encode("hex")
    pieces = [pl.col("t").str.slice(*piece) for piece in ((0, 8), (8, 4), (12, 4), (16, 4), (20,))]
    return text.to_frame().select(pl.concat_str(pieces, separator="-"))["t"].to_arrow()


def _is_bytes(kind: pa.DataType) -> bool:
    kinds = (of.is_binary, of.is_large_binary, of.is_fixed_size_binary, of.is_binary_view)
    return any(is_kind(kind) for is_kind in kinds)


def _is_list(kind: pa.DataType) -> bool:
    return bool(of.is_list(kind) or of.is_large_list(kind)) or is_odd_list(kind)


def _is_readable(kind: pa.DataType) -> bool:
    """Whether polars has the plain type."""
    if of.is_large_list(kind):
        inner = [kind.value_type]
    else:
        inner = [kind.field(i).type for i in range(kind.num_fields)]
    nested = all(_is_readable(i) and not of.is_decimal256(i) for i in inner)
    return nested and not (of.is_interval(kind) or of.is_union(kind))


def _family(kind: pa.DataType) -> str:
    if kind == pa.uint64():
        return "unsigned 64"
    if of.is_timestamp(kind):
        return "timestamp" if kind.tz is None else "timestamp with a zone"
    families = {
        "integer": of.is_integer,
        "float": of.is_floating,
        "decimal": of.is_decimal,
        "bool": of.is_boolean,
        "text": of.is_large_string,
        "date": of.is_date,
        "time": of.is_time,
        "list": of.is_large_list,
    }
    return next((name for name, is_kind in families.items() if is_kind(kind)), str(kind))
