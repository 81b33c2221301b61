from __future__ import annotations

import logging
import os
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from recsys_mtl.tracking.mlflow_process import active, patience, silence

RETRIES, TIMEOUT = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"


def test_patience_ends_with_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RETRIES, raising=False)
    monkeypatch.setenv(TIMEOUT, "77")
    before = dict(os.environ)
    with patience(retries=1, seconds=5):
        assert os.environ[RETRIES] == "1"
        assert os.environ[TIMEOUT] == "77"
    assert dict(os.environ) == before


@pytest.mark.slow  # a new database
def test_active_run_ends_with_its_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://of.the.user")
    uri = f"sqlite:///{tmp_path}/a.db"
    client = MlflowClient(uri)
    run_id = client.create_run(client.create_experiment("e")).info.run_id
    with active(uri, run_id):
        assert mlflow.get_tracking_uri() == uri
        assert mlflow.active_run().info.run_id == run_id
    assert mlflow.active_run() is None
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://of.the.user"
    assert client.get_run(run_id).info.status == "RUNNING"
    with pytest.raises(MlflowException), active(uri, "unknown"):
        pass
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://of.the.user"
    mlflow.set_tracking_uri(None)


def test_silence_leaves_the_users_level(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("mlflow")
    monkeypatch.setenv("MLFLOW_LOGGING_LEVEL", "DEBUG")
    monkeypatch.setattr(logger, "level", logging.DEBUG)
    silence()
    assert logger.level == logging.DEBUG
    monkeypatch.delenv("MLFLOW_LOGGING_LEVEL")
    silence()
    assert logger.level == logging.WARNING
