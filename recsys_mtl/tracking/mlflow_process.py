"""What MLflow keeps in the process: environment variables, an active run, loggers."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import mlflow

TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
"""MLflow's variable of the seconds that an answer may take."""


@contextmanager
def patience(retries: int, seconds: int | None = None) -> Iterator[None]:
    """How long HTTP requests try within the block, silently; the user's settings win.

    Args:
        retries: after a failed request.
        seconds: that an answer may take; None: as MLflow itself waits, two minutes.
    """
    settings = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(retries),
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    if seconds is not None:
        settings[TIMEOUT] = str(seconds)
    added = {key: value for key, value in settings.items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            os.environ.pop(key, None)


@contextmanager
def pointed(uri: str) -> Iterator[None]:
    """Sets MLflow's global URI, which some calls read despite their client; then restores it."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


@contextmanager
def active(uri: str, run_id: str) -> Iterator[None]:
    """The run as MLflow's active run, which model logging needs; leaves the process as it was."""
    path = list(sys.path)
    try:
        with pointed(uri):
            mlflow.start_run(run_id=run_id, nested=True)
            try:
                yield
            finally:
                mlflow.end_run("RUNNING")
    finally:
        sys.path[:] = path


def silence() -> None:
    """MLflow and alembic log tables and migrations at INFO: only warnings pass."""
    if "MLFLOW_LOGGING_LEVEL" not in os.environ:
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
