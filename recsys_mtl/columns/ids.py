"""Categories that are integers from 0 to N - 1 already: the id is the row, nothing is fitted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.canonical import canonical, factorize, stripped
from recsys_mtl.columns.coder import FIRST_ROW, NULL_ROW, UNKNOWN_ROW, Coder
from recsys_mtl.columns.numbers import Floats
from recsys_mtl.columns.spelling import one_spelling
from recsys_mtl.errors import wrong


@dataclass
class IntegerIds(Coder):
    """The id i has row i + 2, as TensorFlow's identity column has it; no memory an id.

    Whatever is no integer of 0 to N - 1 is unknown, as an id that a vocabulary lacks: new ids may
    not stop a scoring. The fit warns of the share of such values.

    Attributes:
        ids: N.
    """

    kind: ClassVar[str] = "id"
    ids: int = 1
    _values: int = field(default=0, init=False, repr=False, compare=False)
    _outside: int = field(default=0, init=False, repr=False, compare=False)
    _example: str = field(default="", init=False, repr=False, compare=False)
    _warning: str = field(default="", init=False, repr=False, compare=False)

    @property
    def rows(self) -> int:
        """Rows of the table, the reserved ones included."""
        return FIRST_ROW + self.ids

    @property
    def names(self) -> range:
        """The ids."""
        return range(self.ids)

    def update(self, values: pl.Series, weights: Floats | None = None) -> None:
        """Counts the values without a row."""
        codes = self.codes(values)
        outside = codes == UNKNOWN_ROW
        self._values += int((codes != NULL_ROW).sum())
        self._outside += int(outside.sum())
        if outside.any() and not self._example:
            self._example = str(values[int(outside.argmax())])

    def finish(self) -> None:
        """Ends the fit.

        Raises:
            UserError: not one value has a row.
        """
        if not self._outside:
            return
        expected, found = f"integers from 0 to {self.ids - 1:,}", f"such as {self._example}"
        if self._outside == self._values:
            fix = "correct rows, or choose encoding: vocabulary or hash"
            raise wrong("no id with a row", expected=expected, found=found, fix=fix)
        share = 100 * self._outside / self._values
        self._warning = f"{share:.2g} % of the ids are unknown: no {expected}, {found}"
        self._outside = 0  # a coder of several features is finished by each

    def warning(self) -> str:
        """The share of ids without a row; once."""
        text, self._warning = self._warning, ""
        return text

    def same_rows(self, other: Coder) -> NDArray[np.int64]:
        """(rows,) the same ids, -1 where the other has fewer."""
        if not isinstance(other, IntegerIds):
            return super().same_rows(other)
        rows = np.arange(self.rows)
        return np.where(rows < other.rows, rows, -1)

    def codes(self, values: pl.Series) -> NDArray[np.int64]:
        """(B,) row of each value, always within the table."""
        if values.dtype.is_integer():
            texts = values.cast(pl.String) if self.null_values else None
            return self._rows_of(values, texts)
        indices, distinct = factorize(values)
        texts = stripped(canonical(distinct))
        return self._rows_of(one_spelling(texts), texts)[indices]

    def code(self, value: Any) -> int | None:
        """Row of an integer."""
        if type(value) is not int or self.null_values:
            return None
        return value + FIRST_ROW if 0 <= value < self.ids else UNKNOWN_ROW

    def _rows_of(self, values: pl.Series, texts: pl.Series | None) -> NDArray[np.int64]:
        null = values.is_null()
        for named in (texts, values if values.dtype == pl.String else None):
            if named is not None:
                null |= named.is_in(self.null_values).fill_null(False)
        ids = values.cast(pl.Int64, strict=False).fill_null(-1).to_numpy()
        inside = (ids >= 0) & (ids < self.ids)
        rows = np.where(inside, ids + FIRST_ROW, UNKNOWN_ROW)
        return np.where(null.to_numpy(), NULL_ROW, rows)
