"""Rows that a model is fitted on."""

from __future__ import annotations

import polars as pl
import pytest

from tests.toy import toy_rows


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return toy_rows(600, seed=5)
