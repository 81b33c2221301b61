"""`train --processes` and torchrun, as users start them; each launch imports torch twice."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

from recsys_mtl.config import load_config
from recsys_mtl.runs.train import train
from tests.runs import several

pytestmark = pytest.mark.slow  # processes
ROOT = Path(__file__).parents[2]
CONFIG = """
name: several
data:
  path: train.parquet
  split: {kind: files, valid: valid.parquet, test: test.parquet}
  loading: stream
  shuffle_buffer: 600
  fit_rows: 700
features:
  number: {kind: numeric}
  place: {kind: categorical}
tasks:
  click: {kind: binary}
  spend: {kind: regression}
model: {dropout: 0, tower_dropout: 0, embedding: {dim: 4, backend: plain}}
training: {recipe: none, device: cpu, epochs: 2, batch_size: 120, threads: 1}
"""
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", several.__name__)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training rows in small row groups, the last batch of which is short; wrong ones too."""
    folder, rng = tmp_path_factory.mktemp("several"), np.random.default_rng(0)
    number, place = rng.normal(size=3001), rng.integers(0, 9, 3001)
    spend = np.where(rng.random(3001) < 0.3, np.nan, number + place)
    columns = {"number": number, "place": place, "click": (number > 0) * 1, "spend": spend}
    rows = pl.DataFrame(columns).with_columns(pl.col("spend").fill_nan(None))
    wrong = rows.with_columns(
        pl.when(pl.arange(3001) == 1100).then(7).otherwise("click").alias("click")
    )
    rows[:1801].write_parquet(folder / "train.parquet", row_group_size=50)
    wrong[:1801].write_parquet(folder / "wrong.parquet", row_group_size=50)
    rows[1801:2402].write_parquet(folder / "valid.parquet")
    rows[2402:].write_parquet(folder / "test.parquet")
    (folder / "run.yaml").write_text(CONFIG)
    return folder


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command, with the folder's data and store."""
    shared = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run(
        [sys.executable, *words, "--data", str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **shared, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def command(folder: Path, out: str) -> tuple[str, ...]:
    return "train", str(folder / "run.yaml"), "--out", str(folder / out)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_two_processes_train_and_store_as_one(folder: Path) -> None:
    config = load_config(folder / "run.yaml", ["tracking.enabled=false", f"data.root={folder}"])
    alone = train(config, folder / "one")
    done = run(folder, "-m", several.__name__, *command(folder, "two"), "--processes", "2")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert sum("training finished" in line for line in lines) == 1
    assert done.stdout.count("several: test rows") == 1
    together = json.loads((folder / "two" / "result.json").read_text())
    for name in ("train_losses", "valid_losses"):
        own, others = ([e[name] for e in r["training"]["epochs"]] for r in (alone, together))
        for epoch, other in zip(own, others, strict=True):
            assert epoch == pytest.approx(other, abs=1e-6)
    rows = [[e["rows"], e["labelled"]] for e in together["training"]["epochs"]]
    assert rows == [[e["rows"], e["labelled"]] for e in alone["training"]["epochs"]]
    weights = [load_file(folder / out / "model" / "weights.safetensors") for out in ("one", "two")]
    for name, tensor in weights[0].items():
        np.testing.assert_allclose(tensor, weights[1][name], atol=1e-6)
    assert files(folder / "one") == files(folder / "two")
    with sqlite3.connect(folder / "mlflow.db") as store:
        assert store.execute("select status from runs").fetchall() == [("FINISHED",)]


def test_a_wrong_row_of_one_process_is_one_line_of_all(folder: Path) -> None:
    words = "--set", "data.path=wrong.parquet", "--set", "tracking.enabled=false"
    done = run(folder, *TORCHRUN, *command(folder, "wrong"), *words)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "not a yes/no label" in errors[0]
    assert "row 1100" in errors[0]
    assert done.stderr.count("exitcode  : 2 ") == 2
    assert not (folder / "wrong").exists()


def test_a_killed_process_ends_the_other(folder: Path) -> None:
    words = *command(folder, "killed"), "--processes", "2", "--set", "tracking.enabled=false"
    done = run(folder, "-m", several.__name__, *words, FAULT_STEP="5")
    assert done.returncode == 2
    own = [line for line in done.stderr.splitlines() if not re.match(r"\d\d:\d\d:\d\d| ", line)]
    assert len(own) == 1
    assert own[0].startswith(
        "error: --processes: process 1 of 2 was killed by SIGKILL, which ended"
    )
    assert not (folder / "killed").exists()
