from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import mlflow
import pytest
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_TIMEOUT
from mlflow.exceptions import MlflowException, RestException
from urllib3.connection import HTTPConnection

from recsys_mtl.errors import UserError
from recsys_mtl.tracking import Run, mlflow_run, open_run
from recsys_mtl.tracking.mlflow_run import MlflowRun
from recsys_mtl.tracking.stored_runs import StoredRuns


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


def opened(uri: str, **options: Path) -> Run:
    return open_run(True, uri, "an experiment", "a run", {"seed": "3"}, **options)


class DeadClient:
    """A client whose server is away until `alive`; counts calls."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error or MlflowException("no route", error_code=1)  # INTERNAL_ERROR
        self.alive = False
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> object:
        def call(*args: object, **kwargs: object) -> None:
            self.calls.append(name)
            if not self.alive:
                raise self.error

        return call


@pytest.mark.slow  # a new database
def test_everything_arrives(uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "report.txt").write_text("all well")
    with opened(uri) as run:
        run.params({"model.levels": 2, "training.epochs": 10})
        run.metrics({"visit/auc": 0.5, "visit/recall@5": 0.25}, 1)
        run.metrics({"visit/auc": 0.75, "spend/r2": None, "spend/rank": float("nan")}, 2)
        run.text("config.yaml", "name: a")
        run.figure("plots/loss.png", Figure())
        run.artifact(tmp_path / "report.txt", "reports")
        run.artifact(tmp_path, "all")
        run.tags({"git": "abc"})
    client = MlflowClient(uri)
    stored = client.get_run(run.id)
    assert stored.info.status == "FINISHED"
    assert stored.info.run_name == "a run"
    assert stored.data.params == {"model.levels": "2", "training.epochs": "10"}
    assert stored.data.metrics == {"visit/auc": 0.75, "visit/recall_5": 0.25}
    assert [m.step for m in client.get_metric_history(run.id, "visit/auc")] == [1, 2]
    assert stored.data.tags["seed"] == "3"
    assert stored.data.tags["git"] == "abc"
    files = {f.path for f in client.list_artifacts(run.id)}
    assert files == {"config.yaml", "plots", "reports", "all"}
    store = Path(uri.removeprefix("sqlite:///")).parent
    assert (store / "mlartifacts" / run.id / "artifacts" / "reports" / "report.txt").is_file()
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


@pytest.mark.slow  # a database of its own
def test_nothing_is_left_in_the_working_folder(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with opened(uri) as run:
        run.metrics({"a": 1.0}, 1)
    assert list(tmp_path.iterdir()) == []


def test_many_and_long_params(uri: str) -> None:
    values: dict[str, object] = {f"key.{i}": i for i in range(234)}
    with opened(uri) as run:
        run.params(values | {"long": "x" * 7000, "k" * 300: 1})
    client = MlflowClient(uri)
    params = client.get_run(run.id).data.params
    assert len(params) == 236
    assert len(params["long"]) == 6000
    assert params["k" * 250] == "1"
    stored = json.loads(Path(client.download_artifacts(run.id, "params.json")).read_text())
    assert stored["long"] == "x" * 7000


def test_credentials_are_not_stored(uri: str) -> None:
    secret = "http://user:s3cret@server"
    with opened(uri) as run:
        run.params({"tracking.uri": secret})
        run.text("config.yaml", f"uri: {secret}")
        run.tags({"server": secret})
    client = MlflowClient(uri)
    stored = client.get_run(run.id).data
    text = Path(client.download_artifacts(run.id, "config.yaml")).read_text()
    assert stored.params["tracking.uri"] == "http://***@server"
    assert "s3cret" not in text + str(stored.tags)


@pytest.mark.parametrize(
    ("error", "status"),
    [(None, "FINISHED"), (ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")],
)
def test_status(uri: str, error: type[BaseException] | None, status: str) -> None:
    def work() -> None:
        if error is not None:
            raise error

    run = opened(uri)
    try:
        with run:
            work()
    except (ValueError, KeyboardInterrupt) as raised:
        assert type(raised) is error  # noqa: PT017
    assert MlflowClient(uri).get_run(run.id).info.status == status


def test_a_run_ends_once(uri: str) -> None:
    with opened(uri) as run:
        run.end("KILLED")
    assert MlflowClient(uri).get_run(run.id).info.status == "KILLED"


def test_the_process_is_left_as_it_was(uri: str) -> None:
    before = dict(os.environ), mlflow.get_tracking_uri()
    with opened(uri) as run:
        run.metrics({"a": 1.0}, 1)
    assert (dict(os.environ), mlflow.get_tracking_uri()) == before
    assert mlflow.active_run() is None


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("visit/auc", "visit/auc"),
        ("recall@5 (top)[1]", "recall_5 _top__1_"),
        ("/a//b/../c/", "a/b/c"),
        ("größe", "größe"),
        ("..", "_"),
    ],
)
def test_names_are_made_valid(uri: str, name: str, kept: str) -> None:
    with opened(uri) as run:
        run.metrics({name: 1.0}, 1)
        run.params({name: 1.0})
    stored = MlflowClient(uri).get_run(run.id).data
    assert stored.metrics == {kept: 1.0}
    assert stored.params == {kept: "1.0"}


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The host of every attempt to connect by HTTP."""
    hosts: list[str] = []
    connect = HTTPConnection._new_conn

    def counted(self: HTTPConnection) -> socket.socket:
        hosts.append(self.host)
        return connect(self)

    monkeypatch.setattr(HTTPConnection, "_new_conn", counted)
    return hosts


@pytest.mark.parametrize(
    ("uri", "message", "tried"),
    [
        ("http://user:s3cret@127.0.0.1:9", "refused", ["127.0.0.1"]),
        ("http://nowhere.invalid:5000", "resolve", ["nowhere.invalid"]),
        ("htp://server", "unsupported URI", []),
    ],
)
def test_unreachable_server_is_reported_before_training(
    uri: str, message: str, tried: list[str], connections: list[str]
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        opened(uri)
    assert connections == tried  # once: there are no retries
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert str(caught.value).count("\n") == 0


def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    silent = closing(socket.create_server(("127.0.0.1", 0)))
    with silent as server, pytest.raises(UserError, match="timed out") as caught:
        opened(f"http://127.0.0.1:{server.getsockname()[1]}")
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT sets how many seconds" in str(caught.value)


@pytest.mark.parametrize(("chosen", "seconds"), [(None, 120), ("7", 7)])
def test_a_slow_server_gets_as_long_as_mlflow_gives_it(
    chosen: str | None, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    if chosen is not None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", chosen)
    waits: list[int] = []

    def noted(*_: object) -> NoReturn:
        waits.append(MLFLOW_HTTP_REQUEST_TIMEOUT.get())
        raise OSError("away")

    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", noted)
    monkeypatch.setattr(MlflowClient, "get_run", noted)
    with pytest.raises(UserError, match="away"):
        opened("http://127.0.0.1:9")
    with pytest.raises(UserError, match="away"):
        StoredRuns("http://127.0.0.1:9").get("0" * 32)
    assert waits == [seconds, seconds]


def test_deleted_experiment(uri: str) -> None:
    client = MlflowClient(uri)
    client.delete_experiment(client.create_experiment("deleted"))
    with pytest.raises(UserError, match=r"deleted.*restore"):
        open_run(True, uri, "deleted", "n")


def test_a_store_whose_client_is_not_installed(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    client = MlflowClient(uri)
    experiment_id = client.create_experiment("straight", artifact_location="s3://models/straight")
    with pytest.raises(UserError, match=r"cannot track this run; found .*boto3"):
        open_run(True, uri, "straight", "n")
    assert client.search_runs([experiment_id]) == []


def test_another_process_creates_the_experiment_first() -> None:
    class Racing(DeadClient):
        def get_experiment_by_name(self, name: str) -> object:
            self.calls.append(name)
            return (
                None
                if len(self.calls) == 1
                else mlflow.entities.Experiment("7", name, "", "active")
            )

    exists = MlflowException("exists", error_code=3001)  # RESOURCE_ALREADY_EXISTS
    assert mlflow_run._experiment(Racing(exists), "e", None) == "7"


def test_a_lost_server_does_not_stop_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = DeadClient()
    run = MlflowRun(client, "id", "http://server", tmp_path)  # type: ignore[arg-type]
    with run:
        run.metrics({"a": 1.0}, 1)
        run.metrics({"a": 2.0}, 2)
        run.text("a.txt", "a")
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["metrics"]) for line in lines] == [(1, {"a": 1.0}), (2, {"a": 2.0})]
    assert client.calls == ["log_batch", "log_batch"]  # once at first, once at the end
    messages = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert len(messages) == 2
    assert "does not answer" in messages[0]
    assert "4 writes never reached MLflow" in messages[1]
    assert "metrics.jsonl" in messages[1]


def test_a_server_that_comes_back_gets_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_run, "RETRY_SECONDS", 0.0)
    client = DeadClient()
    run = MlflowRun(client, "id", "http://server", None)  # type: ignore[arg-type]
    run.metrics({"a": 1.0}, 1)
    client.alive = True
    run.text("a.txt", "a")
    run.end("FINISHED")
    assert client.calls == ["log_batch", "log_batch", "log_text", "set_terminated"]


def test_a_refused_write_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    client = DeadClient(RestException({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "gone"}))
    run = MlflowRun(client, "id", "http://server", None)  # type: ignore[arg-type]
    run.metrics({"a": 1.0}, 1)
    run.metrics({"a": 1.0}, 2)
    assert client.calls == ["log_batch", "log_batch"]
    assert [r.message for r in caplog.records] == [
        "MLflow refused a write: RESOURCE_DOES_NOT_EXIST: gone"
    ] * 2


def test_errors_of_artifact_stores_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    class BotoCoreError(Exception):
        pass

    module = ModuleType("botocore.exceptions")
    module.BotoCoreError = module.ClientError = BotoCoreError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "botocore.exceptions", module)
    client = DeadClient(BotoCoreError("bucket away"))
    run = MlflowRun(client, "id", "http://server", None)  # type: ignore[arg-type]
    run.text("a.txt", "a")
    assert client.calls == ["log_text"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    store = f"sqlite:///{tmp_path}/server.db"
    command = ["server", "--backend-store-uri", store, "--workers", "1", "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *command, "--artifacts-destination", str(tmp_path / "a")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    for _ in range(1200):  # a busy machine starts it in minutes
        try:
            urllib.request.urlopen(f"{url}/health", timeout=1).close()
            break
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    yield url, process
    stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_a_real_server_dies_during_the_run(
    server: tuple[str, subprocess.Popen[bytes]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    connections: list[str],
) -> None:
    url, process = server
    with opened(url, spool=tmp_path) as run:
        run.params({"a": 1})
        run.metrics({"a/b": 1.0}, 1)
        run.text("a.txt", "text")
        stored = MlflowClient(url).get_run(run.id)
        assert stored.data.metrics == {"a/b": 1.0}
        assert [f.path for f in MlflowClient(url).list_artifacts(run.id)] == ["a.txt"]
        stop(process)
        connections.clear()
        for step in range(2, 20):
            run.metrics({"a/b": float(step)}, step)
        # the first write, unless its connection was kept open, and its one retry; no later one
        assert len(connections) in (1, 2)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 18
    assert "does not answer" in caplog.text
    assert capsys.readouterr().out == ""
