"""Random tables and configs: success, or a `UserError`; never anything else.

RECSYS_MTL_FUZZ=2000,300 sets how many tables are validated and how many are trained on and scored.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from recsys_mtl.config import load_config
from recsys_mtl.errors import UserError
from recsys_mtl.runs.train import train
from recsys_mtl.runs.validate import validate
from recsys_mtl.scoring.predict import predict
from tests.fuzz.cases import Case, cases

VALIDATED, TRAINED = map(int, os.environ.get("RECSYS_MTL_FUZZ", "400,40").split(","))
SETTINGS = settings(derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


def problems(run: Callable[[], object]) -> list[str]:
    """The lines of a `UserError`; none after a success."""
    try:
        run()
    except UserError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.slow
@settings(SETTINGS, max_examples=VALIDATED)
@given(cases())
def test_validate(case: Case) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lines = problems(lambda: validate(load_config(case.write(Path(folder)))))
    assert not any("\n" in line for line in lines)


@pytest.mark.slow
@settings(SETTINGS, max_examples=TRAINED)
@given(cases())
def test_train_and_predict(case: Case) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if problems(lambda: train(load_config(case.write(folder)), folder / "run")):
            return
        output = folder / "_scores.parquet"
        predict(folder / "run", input=str(folder / case.path), output=output)
        assert pl.read_parquet(output).height == case.rows
