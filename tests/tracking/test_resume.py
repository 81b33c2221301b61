"""A run in MLflow that is continued after a kill: no point lost, none twice."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric

from recsys_mtl.tracking import open_run
from recsys_mtl.tracking.mlflow_resume import Resumed
from recsys_mtl.tracking.spool import Spool


class Store:
    """A client of a run with points."""

    def __init__(self, points: dict[str, list[int]]) -> None:
        self.points = points
        self.asked: list[str] = []

    def get_metric_history(self, run_id: str, key: str) -> list[Any]:
        self.asked.append(key)
        return [SimpleNamespace(step=step) for step in self.points[key]]

    def log_batch(self, run_id: str, metrics: list[Metric]) -> None:
        for metric in metrics:
            self.points.setdefault(metric.key, []).append(metric.step)


def test_points_that_the_run_has_are_not_sent_again() -> None:
    store = Store({"auc": [0, 1], "loss": [0]})
    resumed = Resumed(store, "r", "e", list(store.points))  # type: ignore[arg-type]
    for step in range(3):
        resumed.send([Metric(key, 0.5, 1, step) for key in ("auc", "loss", "new")])
    steps = [0, 1, 2]
    assert store.points == {"auc": steps, "loss": steps, "new": steps}
    assert sorted(store.asked) == ["auc", "loss"]


def record(step: int, *names: str) -> dict[str, Any]:
    return {"step": step, "time": 1, "metrics": dict.fromkeys(names, 0.5)}


def test_a_line_of_metrics_is_kept_once(tmp_path: Path) -> None:
    first = Spool(tmp_path / "made")
    lines = [record(0, "a", "b"), record(1, "a", "b")]
    for line in lines:
        first.add(line)
    with first.path.open("a") as file:
        file.write('{"step": 2, "ti')  # a killed process
    again = Spool(tmp_path / "made", resumed=True)
    for line in (record(1, "b", "a"), record(1, "c"), record(2, "a", "b")):
        again.add(line)
    lines += [record(1, "c"), record(2, "a", "b")]
    assert [json.loads(line) for line in first.path.read_text().splitlines()] == lines


@pytest.mark.slow  # a new database
def test_a_run_of_a_killed_training_does_not_stay_running(tmp_path: Path) -> None:
    """The first is killed before its first checkpoint; the server is away when the third ends."""
    uri, file = f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "mlflow_run.json"

    def status(run: Any) -> str:
        return str(MlflowClient(uri).get_run(run.id).info.status)

    def begun(**more: Any) -> Any:
        return open_run(True, uri, "an experiment", "a run", begun=tmp_path, **more)

    killed = begun()
    assert json.loads(file.read_text()) == {"run_id": killed.id, "status": "KILLED"}
    with begun(run_id=killed.id):
        assert status(killed) == "RUNNING", "it is continued"
    assert status(killed) == "FINISHED"
    assert not file.exists()
    killed = begun()
    with begun() as third:
        assert (status(killed), status(third)) == ("KILLED", "RUNNING")
        third._client = None  # any request is a refused connection
        third._write = lambda write: third._waiting.append(write)
    assert json.loads(file.read_text()) == {"run_id": third.id, "status": "FINISHED"}
    with begun() as fourth:
        assert (status(third), status(fourth)) == ("FINISHED", "RUNNING")
    file.write_text(json.dumps({"run_id": "of another store", "status": "KILLED"}))
    begun().end("FAILED")
    assert not file.exists()


@pytest.mark.slow  # a new database
def test_a_run_is_continued(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    killed = open_run(True, uri, "an experiment", "a run")
    killed.params({"a": 1})
    killed.metrics({"auc": 0.5}, 0, at=1000.0)
    killed.metrics({"auc": 0.75}, 1, at=2000.0)
    with open_run(True, uri, "an experiment", "a run", run_id=killed.id) as run:
        assert run.id == killed.id
        run.params({"a": 1})
        for step, value in enumerate((0.5, 0.75, 1.0)):
            run.metrics({"auc": value}, step, at=5000.0)
    client = MlflowClient(uri)
    points = client.get_metric_history(killed.id, "auc")
    expected = [(0, 0.5, 1_000_000), (1, 0.75, 2_000_000), (2, 1.0, 5_000_000)]
    assert [(p.step, p.value, p.timestamp) for p in points] == expected
    assert client.get_run(killed.id).info.status == "FINISHED"
    client.delete_run(killed.id)
    with caplog.at_level(logging.WARNING):
        other = open_run(True, uri, "an experiment", "a run", run_id=killed.id)
    assert other.id != killed.id
    assert f"MLflow does not have run {killed.id} any more: a new run is begun" in caplog.text
