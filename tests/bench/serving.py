"""The bench's model answers: over HTTP, as a pyfunc, as a `Predictor`, exported, and from files.

Arguments: what to do, the Parquet file, a folder that `make` fills and the others read.

    make        fit the preprocessing, log the untrained network to MLflow, export it
    latency N   seconds of N requests of one row, and of a tenth as many of 512, of every way
    few N       CPU seconds of N answers to 1, 8 and 64 rows, encoded by value and by column
    predict     rows/s of `recsys-mtl predict` from the opened file to the written one

An untrained network costs what a trained one costs. Every process keeps to one core; the server,
which runs beside the one that asks, has the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")

import polars as pl
import torch

sys.path.insert(0, str(Path(__file__).parent))
import ours
import serve

SIZES = {1: 1, 512: 10}
"""Rows of a request, and of how many requests each such size gets one."""
FEW = (1, 8, 64)
"""Rows of an answer that takes them by value."""


def main() -> None:
    """Do what the arguments say and print the result."""
    what, path, folder = sys.argv[1], Path(sys.argv[2]).resolve(), Path(sys.argv[3]).resolve()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if what == "make":
        result: dict[str, Any] = make(path, folder)
    elif what == "few":
        result = few(path, folder, int(sys.argv[4]))
    elif what == "latency":
        result = latency(path, folder, int(sys.argv[4]))
    else:
        result = predict(path, folder)
    print(json.dumps(result))


def make(path: Path, folder: Path) -> dict[str, Any]:
    """Bundle, logged model and export in `folder`."""
    from recsys_mtl.data.prepare import prepare
    from recsys_mtl.serving import save_bundle
    from recsys_mtl.serving.export import save_export
    from recsys_mtl.serving.mlflow_model import log_model
    from recsys_mtl.tracking import open_run
    from recsys_mtl.wiring.network import build_network

    config = ours.config(path, "fp32", "memory")
    prepared = prepare(config)
    torch.manual_seed(0)
    network = build_network(config, prepared.preprocessor.spec)
    save_bundle(folder / "model", config, prepared.preprocessor, network.state_dict())
    store = f"sqlite:///{folder}/mlflow.db"
    with open_run(True, store, "bench", "serving") as run:
        uri = log_model(run, folder / "model", prepared.example)
    made = {"store": store, "uri": uri}
    (folder / "made.json").write_text(json.dumps(made))
    save_export(folder / "model", folder / "export")
    return made


def predict(path: Path, folder: Path) -> dict[str, Any]:
    """`recsys-mtl predict` of all rows."""
    from recsys_mtl.scoring.predict import predict as run

    began, cpu = time.perf_counter(), time.process_time()
    rows = run(folder / "model", input=str(path), output=folder / "scores.parquet")["rows"]
    return {
        "rows_per_second": rows / (time.perf_counter() - began),
        "rows_per_cpu_second": rows / (time.process_time() - cpu),
    }


def latency(path: Path, folder: Path, requests: int) -> dict[str, Any]:
    """Seconds of every request, by way and rows."""
    made = json.loads((folder / "made.json").read_text())
    others = in_process(folder, made)
    seen: dict[str, Any] = {}
    with serving(folder) as ask, served(made) as post:
        ways = {"mlflow HTTP": post, "serve HTTP": ask} | others
        inputs = {"mlflow HTTP": body, "serve HTTP": rows_body, "pyfunc": frame}
        for name, answer in ways.items():  # sizes inside: a server ends connections that rest
            for rows, share in SIZES.items():
                slices = pl.read_parquet(path, n_rows=rows * 8).iter_slices(rows)
                given = [inputs.get(name, lambda part: part)(part) for part in slices]
                seen[f"{name}, {rows}"] = timed(answer, given, requests // share)
    return seen


def few(path: Path, folder: Path, count: int) -> dict[str, dict[str, list[float]]]:
    """CPU seconds of every answer to a few rows, by rows and way."""
    import pandas as pd

    from recsys_mtl.serving import load_bundle
    from recsys_mtl.serving.pandas_rows import to_polars

    predictor = load_bundle(folder / "model")

    def by_column(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        raw = to_polars(pd.DataFrame.from_records(records), predictor.schema())
        encoded = predictor.preprocessor.encode(raw, labels=False)
        return predictor.predict_encoded(encoded).to_dicts()

    ways = {"by value": predictor.predict_rows, "by column": by_column}
    seen: dict[str, dict[str, list[float]]] = {}
    for rows in FEW:
        parts = features(pl.read_parquet(path, n_rows=rows * 8)).iter_slices(rows)
        given = [part.to_dicts() for part in parts]
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(-5, count):
            for way, answer in ways.items():
                began = time.process_time()
                answer(given[turn % len(given)])
                if turn >= 0:
                    seconds[way].append(time.process_time() - began)
        seen[str(rows)] = seconds
    return seen


def timed(answer: Callable[[Any], Any], given: list[Any], count: int) -> list[float]:
    """Seconds of `count` answers after some that nobody counts."""
    seconds = []
    for turn in range(-5, count):
        part = given[turn % len(given)]
        began = time.perf_counter()
        answer(part)
        if turn >= 0:
            seconds.append(time.perf_counter() - began)
    return seconds


def in_process(folder: Path, made: dict[str, Any]) -> dict[str, Callable[[Any], Any]]:
    """The ways that need no server."""
    import mlflow

    from recsys_mtl.serving import load_bundle
    from recsys_mtl.serving.exported import load_export

    mlflow.set_tracking_uri(made["store"])
    manifest = (folder / "export" / "manifest.json").read_bytes()
    exported = load_export(folder / "export", pin=hashlib.sha256(manifest).hexdigest())
    encode, decode = exported.preprocessor.encode, exported.preprocessor.decode

    def run(rows: pl.DataFrame) -> pl.DataFrame:
        outputs = exported.run(encode(rows, labels=False))
        columns = [decode(task, values.numpy()) for task, values in outputs.items()]
        return pl.concat(columns, how="horizontal")

    return {
        "pyfunc": mlflow.pyfunc.load_model(made["uri"]).predict,
        "Predictor": load_bundle(folder / "model").predict,
        "exported": run,
    }


def features(rows: pl.DataFrame) -> pl.DataFrame:
    """Without the labels."""
    return rows.select([*ours.data.ID_COLUMNS, *ours.data.NUMBER_COLUMNS])


def frame(rows: pl.DataFrame) -> Any:
    """As pandas."""
    return features(rows).to_pandas()


def body(rows: pl.DataFrame) -> bytes:
    """As the body of a request."""
    return json.dumps({"dataframe_records": features(rows).to_dicts()}).encode()


def rows_body(rows: pl.DataFrame) -> bytes:
    """As the body of a request to `recsys-mtl serve`."""
    return json.dumps({"rows": features(rows).to_dicts()}).encode()


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Callable[[bytes], bytes]]:
    """`recsys-mtl serve`; gives what posts to it over one connection."""
    with serve.server(folder) as (port, _):
        yield partial(_post, http.client.HTTPConnection("127.0.0.1", port, timeout=60), "/predict")


def _post(connection: http.client.HTTPConnection, path: str, content: bytes) -> bytes:
    connection.request("POST", path, content, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise RuntimeError(text.decode())
    return text


@contextlib.contextmanager
def served(made: dict[str, Any]) -> Iterator[Callable[[bytes], bytes]]:
    """A server of the model on this machine; gives what posts to it over one connection."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", made["uri"]]
    command += ["--env-manager", "local", "--workers", "1", "--port", str(port)]
    # MLflow looks for uvicorn in the PATH, and starts it as a child: hence a session of its own
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    server = subprocess.Popen(
        command,
        env=os.environ | {"MLFLOW_TRACKING_URI": made["store"], "PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield partial(_post, _connect(port, server), "/invocations")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait(timeout=30)


def _connect(port: int, server: subprocess.Popen[bytes]) -> http.client.HTTPConnection:
    """Wait until the server answers."""
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up and server.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("GET", "/ping")
            if (answer := connection.getresponse()).status == 200:
                answer.read()
                return connection
        except OSError:
            connection.close()
        time.sleep(0.2)
    raise RuntimeError("the server does not start")


if __name__ == "__main__":
    main()
