"""An MLflow server and a model server as processes of their own, which end with the test."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_BIN = Path(sys.executable).parent
_START_SECONDS = 90


@dataclass(frozen=True)
class Server:
    """A process that answers on this machine."""

    url: str
    log: Path

    def get(self, path: str) -> str:
        """The answer to a GET request."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return str(answer.read().decode())

    def post(self, path: str, content: dict[str, Any]) -> tuple[int, Any]:
        """Status and answer of a POST request."""
        request = urllib.request.Request(
            self.url + path,
            json.dumps(content).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())


@contextlib.contextmanager
def serving(folder: Path, ready: str, *command: str) -> Iterator[Server]:
    """Run a command of mlflow that listens on `--port`, until the block ends.

    Args:
        folder: it runs there and writes `server.log`.
        ready: path that answers as soon as it works.
        command: its words, without the port.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(exist_ok=True)
    server = Server(f"http://127.0.0.1:{port}", folder / "server.log")
    environment = os.environ | {"PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}"}
    with server.log.open("w") as log:
        process = subprocess.Popen(
            [str(_BIN / "mlflow"), *command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,  # it starts children, which have to end with it
        )
    try:
        _wait(server, ready, process)
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


def _wait(server: Server, ready: str, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        try:
            server.get(ready)
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the server did not start:\n{server.log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An MLflow server with a SQLite store, which this process's MLflow then uses."""
    folder = tmp_path_factory.mktemp("tracking")
    command = ("server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1")
    artifacts = ("--artifacts-destination", str(folder / "artifacts"))
    with (
        serving(folder, "/health", *command, *artifacts) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("MLFLOW_TRACKING_URI", server.url)
        patch.setenv("RECSYS_MTL_CACHE", str(folder / "cache"))
        yield server


@pytest.fixture(name="serving", scope="module")
def _serving() -> Any:
    """`serving`, for tests."""
    return serving
