"""A training that is killed anywhere and started again ends as one that was not.

`RECSYS_MTL_KILLS=30 pytest -m slow tests/runs/test_killed.py -s` is the complete proof.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars.selectors as cs
import pytest
import yaml
from mlflow import MlflowClient

from recsys_mtl.serving.bundle import load_bundle
from tests.toy import DOCUMENT, Document, make_toy

KILLS = int(os.environ.get("RECSYS_MTL_KILLS", "6"))
SEED = int(os.environ.get("RECSYS_MTL_KILLS_SEED", "0"))
STREAM = {"loading": "stream", "shuffle_buffer": 120}
BORROW = {
    "mechanism": "borrow",
    "warmup_epochs": 1,
    "freeze_epoch": 2,
    "borrow": {"donors": "uniform"},
}
CASES: dict[str, Document] = {
    "cagt": {
        "combiner": {"name": "cagt"},
        "tracking": {"enabled": True},
        "model": {"embedding": {"dim": 4, "backend": "torchrec"}},
    },
    "stream, borrow": {
        "adatt": BORROW,
        "data": STREAM,
        "model": {"embedding": {"dim": 4, "backend": "plain", "unknown_dropout": 0.3}},
        "tasks": {"buy": DOCUMENT["tasks"]["buy"] | {"label_share": 0.3}},
    },
    "gradvac, ema": {"combiner": {"name": "gradvac"}, "training": {"averaging": "ema"}},
    "stream, gradnorm": {"balancing": {"name": "gradnorm"}, "data": STREAM},
    "uncertainty": {"balancing": {"name": "uncertainty"}, "training": {"recipe": "auto"}},
}
TRAINING = {
    "epochs": 3,
    "batch_size": 16,
    "keep_optimizer": True,
    "checkpoints": {"every": 3, "unit": "steps"},
}
CLOCK = {"started", "seconds", "rows_per_second", "peak_memory_mb", "mlflow"}


class Forks:
    """Processes that run a command; see `tests.runs.killed`."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.runs.killed"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": store(folder)},
            cwd=Path(__file__).parents[2],
            text=True,
        )

    def run(self, *argv: str | Path, **kill: Any) -> dict[str, Any]:
        """Run a command to its end, or until it is killed."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        job = {"argv": [str(word) for word in argv], "log": str(self.log), **kill}
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        return dict(json.loads(self._server.stdout.readline()))

    def end(self) -> None:
        self._server.communicate(timeout=60)


def store(folder: Path) -> str:
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    forks = Forks(tmp_path_factory.mktemp("forks"))
    yield forks
    forks.end()


def written(folder: Path, case: Document) -> Path:
    """The config of a case, with its data."""
    toy = make_toy(folder)
    document = toy.document()
    for part, values in (("training", TRAINING), *case.items()):
        document[part] = document.get(part, DOCUMENT.get(part, {})) | values
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def names_in(run: Path) -> list[str]:
    """What a killed run has left."""
    return sorted(p.name for p in (*run.glob("*"), *run.glob("checkpoints/*")))


def timeless(value: Any) -> Any:
    """JSON without what a clock or a tracker decides."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in CLOCK}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def left(run: Path) -> dict[str, Any]:
    """Everything in the folder of a run."""
    files: dict[str, Any] = {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(run.rglob("*"))
        if path.is_file()
    }
    files["result.json"] = timeless(json.loads((run / "result.json").read_text()))
    return files


def tracked(run: Path, folder: Path) -> dict[str, Any] | None:
    """What MLflow has of a run; of what the clock decides the number of points only."""
    if (run_id := json.loads((run / "result.json").read_text())["mlflow"]["run_id"]) is None:
        return None
    client = MlflowClient(store(folder))
    of_run = client.get_run(run_id)
    points = {
        key: [
            (point.step, None if key == "rows_per_second" else point.value)
            for point in client.get_metric_history(run_id, key)
        ]
        for key in of_run.data.metrics
    }
    models = client.search_logged_models(
        [of_run.info.experiment_id], filter_string=f"source_run_id = '{run_id}'"
    )
    return {
        "points": {key: sorted(values) for key, values in points.items()},
        "params": of_run.data.params,
        "status": of_run.info.status,
        "files": sorted(f.path for f in client.list_artifacts(run_id)),
        "models": [str(model.status) for model in models],
    }


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_killed_training_ends_as_one_that_was_not(
    tmp_path: Path, forks: Forks, case: str
) -> None:
    index = list(CASES).index(case)
    kills = KILLS // len(CASES) + (index < KILLS % len(CASES))
    folder, config, draw = (
        forks.log.parent,
        written(tmp_path, CASES[case]),
        random.Random(SEED + index),
    )
    straight = forks.run("train", config, "--out", tmp_path / "straight")
    assert straight["status"] == 0, forks.log.read_text()[-3000:]
    expected = left(tmp_path / "straight"), tracked(tmp_path / "straight", folder)
    if "borrow" in case:
        last = expected[0]["result.json"]["training"]["epochs"][-1]
        assert last["adatt"]["borrowed"].keys() == {"buy"}
    killed, number = 0, 0
    while killed < kills:
        number += 1
        run, ended = tmp_path / f"run-{number}", False
        while not ended:
            kill: dict[str, Any] = {}
            if killed < kills:
                kill = (
                    {"seconds": draw.uniform(0, straight["seconds"])}
                    if draw.random() < 0.5
                    else {"change": draw.randrange(straight["changes"])}
                )
            outcome = forks.run("train", config, "--out", run, **kill)
            assert outcome["status"] in (0, -9), forks.log.read_text()[-3000:]
            ended = outcome["status"] == 0
            killed += not ended
            sys.stderr.write(f"{case}, killed at {kill}: {outcome['status']} {names_in(run)}\n")
        assert (left(run), tracked(run, folder)) == expected


TOGETHER: Document = {
    "combiner": {"name": "cagt"},
    "adatt": {"mechanism": "loss", "warmup_epochs": 1, "freeze_epoch": 2},
    "model": {"embedding": {"dim": 4, "backend": "plain", "unknown_dropout": 0.3}},
}


@pytest.mark.slow
def test_killed_processes_end_as_ones_that_were_not(tmp_path: Path, forks: Forks) -> None:
    config, draw = written(tmp_path, TOGETHER), random.Random(SEED)

    def trained(name: str, **job: Any) -> dict[str, Any]:
        return forks.run("train", config, "--out", tmp_path / name, processes=2, **job)

    straight = trained("straight")
    assert straight["status"] == [0, 0], forks.log.read_text()[-3000:]
    for number in range(max(1, KILLS // 6)):
        run = f"run-{number}"
        for rank in range(2):
            share = draw.uniform(0.1, 0.6)
            kill = {"change": int(share * straight["changes"])}
            outcome = trained(
                run, rank=rank, **({"seconds": share * straight["seconds"]} if rank else kill)
            )
            text = f"{rank} killed at {share:.2f}: {outcome['status']} {names_in(tmp_path / run)}"
            sys.stderr.write(f"two processes, {text}\n")
            assert outcome["status"] == [0, 0] or -9 in outcome["status"]
        assert trained(run)["status"] == [0, 0], forks.log.read_text()[-3000:]
        assert left(tmp_path / run) == left(tmp_path / "straight")


@pytest.mark.slow
def test_a_training_ends_in_another_number_of_processes(tmp_path: Path, forks: Forks) -> None:
    embedding = {"dim": 4, "backend": "torchrec"}
    tables = {"tables": {"sharding": "row"}}
    config = written(
        tmp_path, {"model": {"dropout": 0.0, "embedding": embedding}, "training": tables}
    )

    def trained(name: str, processes: int, **job: Any) -> dict[str, Any]:
        return forks.run("train", config, "--out", tmp_path / name, processes=processes, **job)

    straight = trained("straight", 2)
    assert straight["status"] == [0, 0], forks.log.read_text()[-3000:]
    early = straight["changes"] // 4
    ended = trained("run", 2, change=early, signal=signal.SIGTERM)
    assert ended["status"] == [143, 143], forks.log.read_text()[-3000:]
    assert trained("run", 1, change=early)["status"] == -9
    assert trained("run", 2)["status"] == [0, 0], forks.log.read_text()[-3000:]
    rows = make_toy(tmp_path).rows()
    first, second = (
        load_bundle(tmp_path / name / "model").predict(rows).select(cs.float()).to_numpy()
        for name in ("straight", "run")
    )
    assert np.abs(first - second).max() <= 1e-6
