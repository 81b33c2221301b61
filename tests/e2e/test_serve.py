"""`recsys-mtl serve` of the champion, as a process."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys_mtl.serving import load_bundle
from tests.e2e.conftest import Server

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_the_shop")]
ROWS = 300


@pytest.fixture
def process(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Server]]:
    log = tmp_path / "server.log"
    command = [sys.executable, "-m", "recsys_mtl", "serve", "models:/shop@champion"]
    command += ["--port", "0", "--reload-s", "0.2", "--max-rows", str(ROWS)]
    with (
        log.open("w") as file,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip().removeprefix("serving on ")
            yield process, Server(url, log)
        finally:
            process.kill()


def until(condition: Callable[[], Any]) -> None:
    give_up = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def ready(server: Server, version: int) -> bool:
    try:
        return f"models:/shop/{version}" in server.get("/ready")
    except OSError:  # 503
        return False


def test_the_champion_answers_until_the_server_is_terminated(
    shop: Any, process: Any, tmp_path: Path
) -> None:
    server: Server
    job, server = process
    given = shop.rows(ROWS).select(load_bundle(shop.bundle(2)).columns)
    rows, path = given.to_dicts(), tmp_path / "rows.parquet"
    given.write_parquet(path)
    expected = {}
    for version in (1, 2):
        scores, model = tmp_path / f"{version}.parquet", f"models:/shop/{version}"
        shop.do("predict", "--model", model, "--input", path, "--output", scores, "--no-drift")
        predictions = pl.read_parquet(scores).to_dicts()
        expected[version] = (200, {"predictions": predictions, "model": model})
    until(lambda: ready(server, 2))
    assert server.post("/predict", {"rows": rows}) == expected[2]  # digit for digit
    status, answer = server.post("/predict", {"rows": [rows[0], rows[1] | {"age": "old"}]})
    line = "row 1 (counted from 0), column 'age': wrong value; expected a number or null"
    assert (status, answer) == (422, {"detail": f'{line}; found "old"'})
    assert server.post("/predict", {"rows": [*rows, rows[0]]})[0] == 413
    shop.do("rollback", "shop")
    try:
        until(lambda: ready(server, 1))
        assert server.post("/predict", {"rows": rows}) == expected[1]
    finally:
        shop.do("rollback", "shop")
    until(lambda: ready(server, 2))
    answers: list[Any] = []
    asking = threading.Thread(
        target=lambda: answers.append(server.post("/predict", {"rows": rows}))
    )
    asking.start()
    until(lambda: "recsys_mtl_batch_rows_count 3.0" in server.get("/metrics") or answers)
    job.send_signal(signal.SIGTERM)
    asking.join(60)
    assert answers == [expected[2]]
    assert job.wait(60) == 0
    log = server.log.read_text()
    assert log.count("\n") == 3, log  # the three models
