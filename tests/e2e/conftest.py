"""Three versions of a model on a real MLflow server; all processes end with the tests."""

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

import polars as pl
import pytest

from recsys_mtl.cli.main import main
from recsys_mtl.tracking.registry import Registry
from tests.proof import without_proof

CONFIG = Path(__file__).parents[2] / "configs/demo.yaml"
UNTRAINED = (
    "training.optimizer.learning_rate=1e-7",
    "training.tables.learning_rate=1e-7",
    "training.epochs=1",
)
STEPS = (  # what a version is trained with, and the exit code of its promotion
    (UNTRAINED, 0),  # a first champion, however poor
    (("training.epochs=6",), 0),
    (UNTRAINED, 3),
)
CHAMPION = 2  # in the end; the only one that is proven in a fresh process
_BIN = Path(sys.executable).parent
_START_SECONDS = 300  # a busy machine


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
            with urllib.request.urlopen(request, timeout=300) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())


@dataclass(frozen=True)
class Shop:
    """Three versions of one model; who was champion after each decision, and the decision."""

    folder: Path
    artifacts: Path
    decisions: list[tuple[int, str]]

    def bundle(self, version: int) -> Path:
        """The training's own folder of that version's model."""
        return self.folder / f"run-{version}" / "model"

    def rows(self, count: int) -> pl.DataFrame:
        """Raw rows with labels that no model was trained on."""
        return pl.read_parquet(self.folder / "fresh/rows/some.parquet").head(count)

    def do(self, *arguments: str | Path, code: int = 0) -> None:
        """Run a command, which must end with that code."""
        assert main([str(argument) for argument in arguments]) == code, arguments

    def alias(self, name: str) -> int:
        """The version that has it."""
        version = Registry(None).alias("shop", name)
        assert version is not None
        return version.number


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


@pytest.fixture(scope="session")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An MLflow server with a SQLite store."""
    folder = tmp_path_factory.mktemp("tracking")
    command = ("server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1")
    artifacts = ("--artifacts-destination", str(folder / "artifacts"))
    with serving(folder, "/health", *command, *artifacts) as server:
        yield server


def use(tracking: Server, patch: pytest.MonkeyPatch) -> None:
    """Make this process's MLflow, and its children's, talk to that server."""
    patch.setenv("MLFLOW_TRACKING_URI", tracking.url)
    patch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")  # a busy machine is no failure
    patch.setenv("RECSYS_MTL_CACHE", str(tracking.log.parent / "cache"))


@pytest.fixture
def in_the_shop(tracking: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test talks to the server."""
    use(tracking, monkeypatch)


@pytest.fixture(scope="module")
def http(
    shop: Shop, tracking: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The champion behind HTTP."""
    folder = tmp_path_factory.mktemp("serving")
    command = ("models", "serve", "-m", "models:/shop@champion", "--env-manager", "local")
    with pytest.MonkeyPatch.context() as patch:
        use(tracking, patch)
        with serving(folder, "/ping", *command) as server:
            yield server


@pytest.fixture(scope="session")
def shop(tracking: Server, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Three trainings, registered; the second is promoted over the first, the third rejected."""
    shop = Shop(tmp_path_factory.mktemp("shop"), tracking.log.parent / "artifacts", [])
    with pytest.MonkeyPatch.context() as patch:
        use(tracking, patch)
        _make_rows(shop)
        for number, (changes, code) in enumerate(STEPS, 1):
            run, seed = shop.folder / f"run-{number}", ("--seed", str(number))
            settings = [word for change in changes for word in ("--set", change)]
            with pytest.MonkeyPatch.context() as quick:
                if number != CHAMPION:
                    without_proof(quick)
                rows = ("--data", shop.folder / "data")
                shop.do("train", CONFIG, *rows, "--out", run, *seed, *settings)
                shop.do("register", run, "--name", "shop")
            challenger = ("--challenger", str(number), "--input", shop.folder / "fresh/rows")
            # The value's target is log1p: a better model is calibrated worse
            rules = ("--set", "resamples=200", "--set", "calibration=0.5")
            shop.do("promote", "shop", *challenger, *rules, code=code)
            tags = Registry(None).resolve(f"shop/{number}", where="test").tags
            shop.decisions.append((shop.alias("champion"), tags["decision"]))
    return shop


def _make_rows(shop: Shop) -> None:
    """Rows to train on, and rows that no model has seen."""
    everything = shop.folder / "all"
    shop.do("synthesize", "demo", "--rows", "10000", "--out", everything, "--processes", "1")
    rows = pl.read_parquet(everything / "rows/**/*.parquet", hive_partitioning=True)
    fresh = rows["row_id"] % 5 < 2
    for name, chosen in (("data", ~fresh), ("fresh", fresh)):
        (shop.folder / name / "rows").mkdir(parents=True)
        rows.filter(chosen).write_parquet(shop.folder / name / "rows/some.parquet")
