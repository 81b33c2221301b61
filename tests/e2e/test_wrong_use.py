"""Wrong uses of a registered model: one line, exit code 2, nothing half-changed.

Beside these: a server that fails at any call of a promotion (tests/pipelines/promotion), a run that
was damaged before it is registered (tests/lifecycle/test_register.py), two jobs on one folder
(tests/scoring/test_predict.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from mlflow import MlflowClient

from recsys_mtl.cli.main import main
from recsys_mtl.lifecycle.lock import FREE, LOCK
from recsys_mtl.tracking.registry import Registry

pytestmark = pytest.mark.slow

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
