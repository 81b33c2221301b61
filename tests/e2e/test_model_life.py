"""The life of a model after training, on a real MLflow server, by the commands that people type.

At the end wrong uses of a registered model: one line, exit code 2, nothing half-changed. Beside
these: a server that fails at any call of a promotion (tests/pipelines/promotion), a run that was
damaged before it is registered (tests/lifecycle/test_register.py), two jobs on one folder
(tests/scoring/test_predict.py).
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from mlflow import MlflowClient
from polars.testing import assert_frame_equal

from recsys_mtl.cli.main import main
from recsys_mtl.lifecycle.lock import FREE, LOCK
from recsys_mtl.serving import load_bundle
from recsys_mtl.serving.exported import load_export
from recsys_mtl.tracking.registry import Registry
from tests.e2e.conftest import Server
from tests.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_the_shop")]

TASKS = {"click", "conversion", "churn", "segment", "value"}
SERVED_ROWS = 300


def test_the_better_is_promoted_and_the_worse_rejected(shop: Any) -> None:
    assert shop.decisions == [(1, "promoted"), (2, "promoted"), (2, "rejected")]


def test_a_rollback_and_its_undoing(shop: Any) -> None:
    assert (shop.alias("champion"), shop.alias("previous")) == (2, 1)
    shop.do("rollback", "shop")
    assert (shop.alias("champion"), shop.alias("previous")) == (1, 2)
    shop.do("rollback", "shop")
    assert (shop.alias("champion"), shop.alias("previous")) == (2, 1)


def test_runs_are_compared_and_ranked(shop: Any, tmp_path: Path) -> None:
    shop.do("compare", shop.folder / "run-1", shop.folder / "run-2", "--out", tmp_path / "compared")
    shop.do("leaderboard", "--metric", "click/auc", "--out", tmp_path / "ranked")
    assert "run" in (tmp_path / "compared/result.json").read_text()
    ranked = (tmp_path / "ranked/result.json").read_text()
    assert "champion" in ranked


def test_the_champion_scores_files(shop: Any, tmp_path: Path) -> None:
    rows = shop.rows(1_000)
    rows.write_parquet(tmp_path / "rows.parquet")
    shop.do("predict", "--model", "models:/shop@champion", "--input", tmp_path / "rows.parquet",
       "--output", tmp_path / "scores", "--keep", "row_id", "--rows-per-file", "400")  # fmt: skip
    names = {path.name for path in (tmp_path / "scores").iterdir()}
    assert names == {*(f"part-0000{n}.parquet" for n in range(3)), "_SUCCESS"}
    notes = {path.name for path in (tmp_path / "_scores").iterdir()}
    assert {"scoring.json", "drift.json", "drift.html"} <= notes
    scored = pl.read_parquet(tmp_path / "scores")
    expected = load_bundle(shop.bundle(2)).predict(rows)
    assert_frame_equal(scored, pl.concat([rows.select("row_id"), expected], how="horizontal"))


def test_the_champion_is_exported(shop: Any, tmp_path: Path) -> None:
    shop.do("export", "--model", "models:/shop@champion", "--output", tmp_path / "network",
       "--out", tmp_path / "told")  # fmt: skip
    result = json.loads((tmp_path / "told/result.json").read_text())
    exported = load_export(tmp_path / "network", pin=result["pin"])
    predictor = load_bundle(shop.bundle(2))
    batch = predictor.preprocessor.encode(shop.rows(50), labels=False)
    outputs = exported.run(batch)
    for task, values in predictor.raw_outputs(batch).items():
        assert (outputs[task] - values).abs().max() <= 1e-6 * max(1.0, float(values.abs().max()))


def raw(shop: Any, predictor: Any) -> pl.DataFrame:
    """Features with nulls, unknown categories, and lists that are empty, null or strange."""
    rows = shop.rows(40).select(predictor.columns)
    at = pl.int_range(pl.len())
    changes = [
        pl.when(at == index).then(None).otherwise(pl.col(name)).alias(name)
        for index, name in enumerate(predictor.columns)
    ]
    rows = rows.with_columns(changes)
    item = rows.schema["recent_01"].inner  # type: ignore[attr-defined]
    strange = pl.Series([None, [], [990_001, 990_002]], dtype=pl.List(pl.Int64))
    lists = strange.cast(pl.List(item)).append(rows["recent_01"][3:])
    odd = pl.when(at == 5).then(pl.lit(990_003)).otherwise(pl.col("category_01"))
    odd = odd.cast(rows.schema["category_01"]).alias("category_01")
    return rows.with_columns(lists.alias("recent_01"), odd)


@pytest.mark.parametrize("orient", ["dataframe_records", "dataframe_split"])
def test_it_answers_as_in_process(shop: Any, http: Any, orient: str) -> None:
    predictor = load_bundle(shop.bundle(2))
    rows = raw(shop, predictor)
    records = rows.to_dicts()
    split = {"columns": rows.columns, "data": [list(row.values()) for row in records]}
    content = records if orient == "dataframe_records" else split
    status, answer = http.post("/invocations", {orient: content})
    assert status == 200, answer
    expected = predictor.predict(rows)
    assert set(expected.columns) >= TASKS
    answered = pl.DataFrame(answer["predictions"], schema=expected.schema)
    assert_frame_equal(answered, expected, abs_tol=1e-6, rel_tol=1e-6)


def test_a_wrong_request_is_refused_and_the_next_is_answered(shop: Any, http: Any) -> None:
    row = shop.rows(1).select(load_bundle(shop.bundle(2)).columns).to_dicts()[0]
    status, answer = http.post("/invocations", {"dataframe_records": [row | {"age": "old"}]})
    assert status == 400
    message = "column 'age': not a number; found 'old' in row 0 (counted from 0)"
    assert (answer["message"], "stack_trace" in answer) == (message, False)
    less = {name: value for name, value in row.items() if name != "age"}
    status, answer = http.post("/invocations", {"dataframe_records": [less]})
    assert status == 400
    assert "age" in json.dumps(answer)
    assert http.post("/invocations", {"dataframe_records": [row]})[0] == 200


@pytest.fixture
def process(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Server]]:
    log = tmp_path / "server.log"
    command = [sys.executable, "-m", "recsys_mtl", "serve", "models:/shop@champion"]
    command += ["--port", "0", "--reload-s", "0.2", "--max-rows", str(SERVED_ROWS)]
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
    given = shop.rows(SERVED_ROWS).select(load_bundle(shop.bundle(2)).columns)
    rows, path = given.to_dicts(), tmp_path / "rows.parquet"
    given.write_parquet(path)
    expected = {}
    for version in (1, 2):
        scores, model = tmp_path / f"{version}.parquet", f"models:/shop/{version}"
        shop.do("predict", "--model", model, "--input", path, "--output", scores, "--no-drift")
        predictions = pl.read_parquet(scores).to_dicts()
        expected[version] = (200, {"predictions": predictions, "model": model})
    wait_for(lambda: ready(server, 2), 120)
    assert server.post("/predict", {"rows": rows}) == expected[2]  # digit for digit
    status, answer = server.post("/predict", {"rows": [rows[0], rows[1] | {"age": "old"}]})
    line = "row 1 (counted from 0), column 'age': wrong value; expected a number or null"
    assert (status, answer) == (422, {"detail": f'{line}; found "old"'})
    assert server.post("/predict", {"rows": [*rows, rows[0]]})[0] == 413
    shop.do("rollback", "shop")
    try:
        wait_for(lambda: ready(server, 1), 120)
        assert server.post("/predict", {"rows": rows}) == expected[1]
    finally:
        shop.do("rollback", "shop")
    wait_for(lambda: ready(server, 2), 120)
    answers: list[Any] = []
    asking = threading.Thread(
        target=lambda: answers.append(server.post("/predict", {"rows": rows}))
    )
    asking.start()
    wait_for(lambda: "recsys_mtl_batch_rows_count 3.0" in server.get("/metrics") or answers, 120)
    job.send_signal(signal.SIGTERM)
    asking.join(60)
    assert answers == [expected[2]]
    assert job.wait(60) == 0
    log = server.log.read_text()
    assert log.count("\n") == 3, log  # the three models


def test_a_tampered_artifact_is_refused(
    shop: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RECSYS_MTL_CACHE", str(tmp_path / "cache"))
    original = (shop.bundle(3) / "weights.safetensors").read_bytes()
    stored = [
        path
        for path in shop.artifacts.rglob("weights.safetensors")
        if path.read_bytes() == original
    ]
    assert stored
    for path in stored:
        path.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    try:
        shop.do("predict", "--model", "models:/shop/3", "--input", shop.folder / "fresh/rows",
           "--output", tmp_path / "scores.parquet", code=2)  # fmt: skip
    finally:
        for path in stored:
            path.write_bytes(original)
    assert "weights.safetensors is not the file that was registered" in capsys.readouterr().err
    assert not (tmp_path / "scores.parquet").exists()


Arguments = list[str]
PREDICT = "predict --model MODEL --input ROWS --output OUT"


def predict(model: str) -> Arguments:
    return PREDICT.replace("MODEL", model).split()


def typed(line: str) -> Callable[[Any, Path], Arguments]:
    """A command as it is typed."""
    return lambda shop, folder: line.split()


def text_for_numbers(shop: Any, folder: Path) -> Arguments:
    rows = shop.rows(30).with_columns(age=pl.lit("old"))
    rows.write_parquet(folder / "wrong.parquet")
    return [
        *predict("models:/shop@champion")[:-3],
        str(folder / "wrong.parquet"),
        "--output",
        "OUT",
    ]


def another_scoring(shop: Any, folder: Path) -> Arguments:
    """A killed job of another model has left its folder."""
    assert main([*filled(predict("models:/shop/1"), shop, folder)]) == 0
    (folder / "scores/_SUCCESS").unlink()
    (folder / "scores/part-00000.parquet").unlink()
    return predict("models:/shop@champion")


def locked(shop: Any, folder: Path) -> Arguments:
    """Another promotion has taken the lock a moment ago."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    Registry(None).set_model_tags("shop", {LOCK: f"elsewhere:77:beef:{now}"})
    return ["promote", "shop", "--challenger", "3", "--input", "ROWS"]


def unfinished(shop: Any, folder: Path) -> Arguments:
    run_id = Registry(None).versions("shop")[0].run_id
    MlflowClient().update_run(run_id, status="RUNNING")
    return ["register", str(shop.folder / "run-3"), "--name", "other"]


def never_promoted(shop: Any, folder: Path) -> Arguments:
    first = Registry(None).resolve("models:/shop/1", where="test")
    Registry(None).create(
        "lonely", model_uri=first.source, run_id=first.run_id, tags=first.tags, description=""
    )
    Registry(None).set_alias("lonely", "champion", 1)
    return ["rollback", "lonely"]


CASES: dict[str, tuple[Callable[[Any, Path], Arguments], str]] = {
    "unknown model name": (
        lambda *_: predict("models:/shpo@champion"),
        "no registered model 'shpo'.*did you mean 'shop'",
    ),
    "unknown alias": (
        lambda *_: predict("models:/shop@best"),
        "'shop' has no alias 'best'; expected one of: .*@champion",
    ),
    "unknown version": (
        lambda *_: predict("models:/shop/9"),
        "no version 9; expected one of: 1, 2",
    ),
    "server down": (
        lambda *_: [*predict("models:/shop/1"), "--tracking-uri", "http://127.0.0.1:9"],
        r"http://127\.0\.0\.1:9.*found .* -> start the server",
    ),
    "wrong schema": (text_for_numbers, "'age'.*expected .*found"),
    "half-written output of another model": (
        another_scoring,
        "holds another scoring; found bundle",
    ),
    "the champion as challenger": (
        typed("promote shop --challenger 2 --input ROWS"),
        "champion",
    ),
    "two promotions at once": (locked, "elsewhere"),
    "the same training again": (
        lambda shop, _: ["register", str(shop.folder / "run-1"), "--name", "shop"],
        "registered already, as version 1",
    ),
    "a run that did not finish": (unfinished, "the run did not finish.*found RUNNING"),
    "rollback without previous": (never_promoted, "previous"),
}


def filled(arguments: Arguments, shop: Any, folder: Path) -> Arguments:
    folders = {"ROWS": str(shop.folder / "fresh/rows"), "OUT": str(folder / "scores")}
    return [folders.get(word, word) for word in arguments]


def state(registry: Registry, folder: Path) -> Any:
    """All versions, aliases and tags, and the files there are."""
    models = {
        name: (registry.versions(name), registry.model_tags(name)) for name in registry.names()
    }
    files = (path for path in folder.rglob("*") if path.is_file())
    return models, sorted((path, path.stat().st_mtime_ns) for path in files)


@pytest.mark.parametrize("name", CASES)
def test_wrong_use(
    name: str, shop: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, expected = CASES[name]
    registry = Registry(None)
    arguments = filled(spoil(shop, tmp_path), shop, tmp_path)
    before = state(registry, tmp_path)
    capsys.readouterr()
    try:
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert [line.startswith("error: ") for line in error.splitlines()] == [True], error
        assert re.search(expected, error), error
        assert state(registry, tmp_path) == before
    finally:
        _restore(registry)


def _restore(registry: Registry) -> None:
    client = MlflowClient()
    registry.set_model_tags("shop", {LOCK: FREE})
    client.update_run(registry.versions("shop")[0].run_id, status="FINISHED")
    if "lonely" in registry.names():
        client.delete_registered_model("lonely")
