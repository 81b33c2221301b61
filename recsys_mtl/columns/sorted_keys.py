"""`SortedKeys`: an Arrow file of sorted keys and their rows, memory-mapped.

The file is Arrow's IPC format without compression, whose columns are used where the file lies: the
memory is the page cache's, which all processes of a machine share, and loading reads nothing. (The
pages of a Parquet file have to be decoded into the memory of each process.)

    key     int64 of categories that are integers; uint64 hash of the text of others
    row     int32, of the embedding table
    seen    uint32, training rows of the category
    text    of the others: compared with, as two texts may have one hash

The first `exact` keys, a number in the schema's metadata, are categories; the others are spellings
of them (see `recsys_mtl.columns.spelling`). Both are sorted. Nothing in it is a pickle.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys_mtl.errors import UserError, wrong

ABSENT = -1
_AT_ONCE = 1_000_000  # Python texts in memory
_INTEGER = r"^(?:0|-?[1-9][0-9]{0,18})$"
_COLUMNS = {"row": pa.int32(), "seen": pa.uint32()}
INTEGERS = pa.schema({"key": pa.int64(), **_COLUMNS})
TEXTS = pa.schema({"key": pa.uint64(), **_COLUMNS, "text": pa.large_string()})


def integers_of(texts: pl.Series) -> pl.Series:
    """(B,) int64 of texts that are integers as they are written; null of others."""
    integers = texts.cast(pl.Int64, strict=False)
    return integers.set(~texts.str.contains(_INTEGER).fill_null(False), None)


class SortedKeys:
    """One file, opened.

    Args:
        path: the file.
        schema: `INTEGERS` or `TEXTS`.

    Raises:
        UserError: it is missing or not such a file.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        try:
            with pa.memory_map(str(path)) as file:
                table = pa.ipc.open_file(file).read_all()
            if not table.schema.equals(schema) or table.column("key").num_chunks != 1:
                raise ValueError("other columns")
            self.exact = int((table.schema.metadata or {})[b"exact"])
        except FileNotFoundError as error:
            raise wrong("file of a vocabulary is missing", where=str(path), fix=_COPY) from error
        except (OSError, pa.ArrowException, ValueError, KeyError) as error:
            raise _damaged(path, error) from error
        self.keys, self.rows, self.counts = (
            _mapped(table, name) for name in ("key", "row", "seen")
        )
        self._texts = table.column("text").chunk(0) if schema is TEXTS else None
        if not 0 <= self.exact <= len(self.keys) == len(self.rows):
            raise _damaged(path, "another number of keys")

    @classmethod
    def write(
        cls, path: Path, schema: pa.Schema, categories: pl.DataFrame, spellings: pl.DataFrame
    ) -> None:
        """Write a file.

        Args:
            path: of the file.
            schema: `INTEGERS` or `TEXTS`.
            categories: its columns, in any order.
            spellings: the same of other spellings.
        """
        types = {field.name: field.type for field in schema}
        both = categories.sort("key")
        if spellings.height:
            both.extend(spellings.sort("key").select(both.columns))
        arrays = [pa.array(both[name].to_arrow(), type=types[name]) for name in types]
        arrays = [a.combine_chunks() if isinstance(a, pa.ChunkedArray) else a for a in arrays]
        described = schema.with_metadata({"exact": str(categories.height)})
        with pa.ipc.new_file(str(path), described) as file:
            file.write_batch(pa.record_batch(arrays, schema=described))

    def texts(self) -> pl.Series:
        """(exact,) the categories in the order of the keys."""
        if self._texts is None:
            return pl.Series(self.keys[: self.exact]).cast(pl.String)
        return cast(pl.Series, pl.from_arrow(self._texts.slice(0, self.exact)))

    def text_of(self, position: int) -> str:
        """The category of a position."""
        return str((self.keys if self._texts is None else self._texts)[position])

    def of_integers(self, keys: NDArray[np.int64], *, exact: bool) -> NDArray[np.int64]:
        """(B,) row of each key, or `ABSENT`."""
        known, rows = self._part(exact)
        if not len(known):
            return np.full(len(keys), ABSENT)
        positions = np.searchsorted(known, keys)
        positions[positions == len(known)] = 0
        return np.where(known[positions] == keys, rows[positions], ABSENT).astype(np.int64)

    def of_texts(self, texts: pl.Series, *, exact: bool) -> NDArray[np.int64]:
        """(B,) row of each text, or `ABSENT`; none is null."""
        known, rows = self._part(exact)
        codes = np.full(len(texts), ABSENT)
        assert self._texts is not None
        hashes = hashed(texts)
        order = np.argsort(hashes)  # neighbours share pages of the file
        positions = np.searchsorted(known, hashes[order])
        first, wanted = 0 if exact else self.exact, texts.to_arrow()
        while len(order):  # again where another text has the same hash
            inside = positions < len(known)
            order, positions = order[inside], positions[inside]
            alike = known[positions] == hashes[order]
            order, positions = order[alike], positions[alike]
            stored = self._texts.take(pa.array(positions + first))
            same = pc.equal(stored, wanted.take(pa.array(order)).cast(pa.large_string()))
            same = same.to_numpy(zero_copy_only=False).astype(bool)
            codes[order[same]] = rows[positions[same]]
            order, positions = order[~same], positions[~same] + 1
        return codes

    def _part(self, exact: bool) -> tuple[NDArray[Any], NDArray[np.int32]]:
        part = slice(self.exact) if exact else slice(self.exact, None)
        return self.keys[part], self.rows[part]


def hashed(texts: pl.Series) -> NDArray[np.uint64]:
    """(B,) pandas' keyed SipHash of each text, the same in every process and version."""
    hashes = np.empty(len(texts), np.uint64)
    for start in range(0, len(texts), _AT_ONCE):
        objects = np.array(texts[start : start + _AT_ONCE].to_list(), dtype=object)
        hashes[start : start + _AT_ONCE] = pd.util.hash_array(objects, categorize=False)
    return hashes


def _mapped(table: pa.Table, name: str) -> NDArray[Any]:
    values: NDArray[Any] = table.column(name).chunk(0).to_numpy(zero_copy_only=True)
    return values


_COPY = "copy the folder again from where it was saved"


def _damaged(path: Path, found: object) -> UserError:
    return wrong("file of a vocabulary cannot be read", where=str(path), found=found, fix=_COPY)
