"""Encoding a few rows from Python values, where their types leave no question."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from recsys_mtl.columns.few import FewColumns
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.preprocess import Preprocessor

FEW_ROWS = 64
"""Up to so many rows a frame's fixed cost a column is most of the time of `encode`."""


def encode_few(
    preprocessor: Preprocessor, columns: FewColumns, rows: int, frame: Callable[[], pl.DataFrame]
) -> Batch:
    """`Preprocessor.encode` of a few rows, without labels.

    Args:
        preprocessor: fitted.
        columns: raw columns by name.
        rows: their length.
        frame: gives the same rows, for all other values and for their mistakes.

    Raises:
        UserError: as `encode`.
    """
    known = {
        feature.name: part
        for feature in preprocessor.features
        if all(name in columns for name in feature.columns)
        and (part := feature.encode_few(columns)) is not None
    }
    if len(known) == len(preprocessor.features):
        return preprocessor.unlabelled(known, rows)
    return preprocessor.encode(frame(), labels=False, known=known)
