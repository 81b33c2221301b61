"""Fixtures for every test."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Tiny tensors gain nothing from threads, and on a busy machine threads wait for each other.
# Set before the first import of a library that reads it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Else each MLflow server starts six processes more, which no test needs.
os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")

import numpy as np
import pytest

pytest_plugins = ("tests.toy",)

# What is imported and collected lives to the end, and is too much to be searched for garbage.
gc.disable()


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.enable()
    _let_loggers_propagate()


def _let_loggers_propagate() -> None:
    """Pytest adds its handlers six times a test to each logger that does not; torch has dozens."""
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.propagate = True


# A shell's background job ignores Ctrl-C, and so would the jobs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def seed() -> int:
    """The one seed of tests that draw."""
    return 20_240_101


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    """A seeded generator of the test's own."""
    return np.random.default_rng(seed)


@pytest.fixture
def two_ranks(tmp_path: Path) -> Callable[[Path], list[Any]]:
    """Runs `script RANK FOLDER` as two processes; gives what each left in FOLDER/RANK.json."""

    def run(script: Path) -> list[Any]:
        environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}
        ranks = [
            subprocess.Popen(
                [sys.executable, str(script), str(rank), str(tmp_path)], env=environment
            )
            for rank in range(2)
        ]
        assert [rank.wait(timeout=120) for rank in ranks] == [0, 0]
        return [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]

    return run


@pytest.fixture
def real_data() -> Path:
    """Folder of the real data sets that the ready configs name."""
    folder = os.environ.get("RECSYS_MTL_DATA")
    if not folder:
        pytest.skip("RECSYS_MTL_DATA is not set: it names the folder of the real data sets")
    path = Path(folder)
    if not path.is_dir():
        pytest.skip(f"RECSYS_MTL_DATA: no folder {path}")
    return path


@pytest.fixture
def no_real_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths of a config start at the working folder."""
    monkeypatch.delenv("RECSYS_MTL_DATA", raising=False)
