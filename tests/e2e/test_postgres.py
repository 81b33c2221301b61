"""The life of a model on what teams run: MLflow on PostgreSQL, artifacts in S3 (moto's server).

The first version goes through the server, as `--artifacts-destination` has it; the experiment of
the others names the bucket itself, so their trainings write to it.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from mlflow import MlflowClient
from polars.testing import assert_frame_equal

from recsys_mtl.cli.main import main
from recsys_mtl.runs import train
from recsys_mtl.runs.checkpointing import RunCheckpoints
from recsys_mtl.serving import load_bundle, mlflow_model
from recsys_mtl.tracking import mlflow_run
from recsys_mtl.tracking.registry import Registry
from tests.e2e.conftest import Server, serving, use
from tests.e2e.postgres import Cluster, cluster
from tests.proof import without_proof
from tests.toy import Toy, make_toy

pytest.importorskip("moto", reason="moto[s3], of the extra dev, is not installed")
pytest.importorskip("psycopg2", reason="psycopg2-binary, of the extra dev, is not installed")
pytestmark = pytest.mark.slow

SECRET = "wJalrXUtnFEMI"
RULES = [f"--set={rule}" for rule in ("resamples=100", "min_rows=20", "min_class=5", "mean=-9",
         "worst=9", "calibration=9")]  # fmt: skip
EPOCHS = 5
DOWN, UP = 1, 3  # the epochs at whose end the database goes and comes back


@dataclass
class Team:
    """What a team shares, and one model of it by name `shop`."""

    database: Cluster
    server: Server
    toy: Toy

    def do(self, *words: str | Path, code: int = 0) -> None:
        assert main([str(word) for word in words]) == code, words

    def train(self, number: int, *words: str) -> None:
        run = self.toy.folder / f"run-{number}"
        self.do("train", self.toy.folder / "toy.yaml", "--out", run, *words)

    def register(self, number: int) -> None:
        self.do("register", self.toy.folder / f"run-{number}", "--name", "shop")

    def result(self, number: int) -> dict[str, Any]:
        path = self.toy.folder / f"run-{number}" / "result.json"
        return dict(json.loads(path.read_text()))

    def alias(self, name: str) -> int | None:
        version = Registry(None).alias("shop", name)
        return None if version is None else version.number

    def decision(self, number: int) -> str | None:
        return Registry(None).resolve(f"shop/{number}", where="test").tags.get("decision")


@pytest.fixture(scope="module")
def bucket() -> Iterator[None]:
    """The bucket `models` of a store that speaks S3, named in the environment."""
    import boto3
    from moto.server import ThreadedMotoServer

    store = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    store.start()
    host, port = store.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="models")
        yield
    store.stop()


@pytest.fixture(scope="module")
def team(bucket: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("team")
    toy = make_toy(folder)
    document = toy.document()
    document["tracking"] = {"enabled": True, "experiment": "through the server"}
    document["training"] |= {"epochs": EPOCHS, "keep_optimizer": True}
    toy.write(document)
    with cluster() as database, pytest.MonkeyPatch.context() as patch:
        where = ("--backend-store-uri", database.uri, "--artifacts-destination", "s3://models/all")
        with serving(folder / "server", "/health", "server", *where, "--workers", "1") as server:
            use(server, patch)
            yield Team(database, server, toy)


class Contender:
    """A process that promotes; see `tests.e2e.contender`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.contender"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, *words: str | Path, epochs: tuple[int, ...] = ()) -> None:
        self.resume(json.dumps({"argv": [str(word) for word in words], "epochs": epochs}))

    def resume(self, line: str = "") -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return dict(json.loads(self._process.stdout.readline()))

    def kill(self) -> None:
        self._process.kill()
        self.end()

    def end(self) -> None:
        if self._process.returncode is None:
            self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def contenders(team: Team) -> Iterator[list[Contender]]:
    pair = [Contender(), Contender()]
    yield pair
    for contender in pair:
        contender.end()


def without_processes(patch: pytest.MonkeyPatch) -> None:
    """Models are logged without the package, and nothing proves them in a fresh process."""
    without_proof(patch)
    patch.setattr(mlflow_model, "pack_package", lambda to: to.touch())


def points(run_id: str) -> dict[str, list[int]]:
    """The steps of every metric, as the store has them."""
    client = MlflowClient()
    keys = client.get_run(run_id).data.metrics
    return {key: [p.step for p in client.get_metric_history(run_id, key)] for key in keys}


@pytest.fixture(scope="module")
def champion(team: Team, contenders: list[Contender]) -> Team:
    """The first version, proven from the store in a fresh process when it was registered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "prove_model", lambda *_, **__: 0.0)
        team.train(1, "--set", "training.optimizer.learning_rate=1e-6")
    team.register(1)
    team.do("promote", "shop", "--challenger", "1", *RULES)
    assert team.alias("champion") == 1
    return team


@pytest.fixture(scope="module")
def challengers(champion: Team) -> Team:
    """Two more, straight to the bucket; the database goes away while the third is trained."""
    team = champion
    MlflowClient().create_experiment("straight", artifact_location="s3://models/straight")
    report = RunCheckpoints._report

    def interrupted(self: RunCheckpoints, epoch: Any) -> None:
        if epoch.number == DOWN:
            team.database.stop()
        if epoch.number == UP:
            team.database.start()
        report(self, epoch)

    straight = ("--set", "tracking.experiment=straight")
    with pytest.MonkeyPatch.context() as patch:
        without_processes(patch)
        patch.setattr(mlflow_run, "RETRY_SECONDS", 0.0)
        team.train(2, *straight, "--from", "models:/shop@champion")
        patch.setattr(RunCheckpoints, "_report", interrupted)
        team.train(3, *straight)
        team.register(2)
        team.register(3)
    return team


@pytest.fixture(scope="module")
def race(challengers: Team, contenders: list[Contender]) -> list[dict[str, Any]]:
    """Versions 2 and 3 were promoted at the same moment."""
    for number, contender in enumerate(contenders, 2):
        contender.do("promote", "shop", "--challenger", str(number), *RULES)
    for contender in contenders:
        assert contender.answer() == {"at": "the lock"}
    for contender in contenders:
        contender.resume()
    return [contender.answer() for contender in contenders]


def test_artifacts_are_in_the_store(challengers: Team) -> None:
    import boto3

    listed = boto3.client("s3").list_objects_v2(Bucket="models", MaxKeys=1000)["Contents"]
    weights = {o["Key"].split("/")[0] for o in listed if o["Key"].endswith("weights.safetensors")}
    assert weights == {"all", "straight"}
    for path in challengers.toy.folder.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), "no secret stored"


def test_a_database_that_goes_and_comes_back_costs_no_point(challengers: Team) -> None:
    run_id = challengers.result(3)["mlflow"]["run_id"]
    steps = points(run_id)
    assert steps["train/click/loss"] == list(range(EPOCHS))
    assert all(len(set(of)) == len(of) for of in steps.values())
    assert MlflowClient().get_run(run_id).info.status == "FINISHED"


def test_a_warm_start_names_its_champion(challengers: Team) -> None:
    facts = challengers.result(2)["warm_start"]
    assert (facts["name"], facts["version"]) == ("shop", 1)


def test_of_two_promotions_at_once_one_is_done(race: list[dict[str, Any]], champion: Team) -> None:
    (won, lost) = sorted((answer["status"], number) for number, answer in enumerate(race, 2))
    assert (won[0], lost[0]) == (0, 2), race
    errors = race[lost[1] - 2]["error"].strip().splitlines()
    assert len([line for line in errors if line.startswith("error: shop: ")]) == 1, errors
    assert "another promotion or rollback" in errors[-1] or "has changed" in errors[-1]
    assert (champion.alias("champion"), champion.alias("previous")) == (won[1], 1)
    assert champion.decision(won[1]) == "promoted"
    assert champion.decision(lost[1]) in (None, "failed")
    assert Registry(None).model_tags("shop") == {}


def test_the_next_promotion_and_back(race: list[dict[str, Any]], champion: Team) -> None:
    winner = champion.alias("champion")
    assert winner is not None
    champion.do("promote", "shop", "--challenger", str(5 - winner), *RULES)
    assert (champion.alias("champion"), champion.alias("previous")) == (5 - winner, winner)
    champion.do("rollback", "shop")
    assert (champion.alias("champion"), champion.alias("previous")) == (winner, 5 - winner)
    assert champion.decision(5 - winner) == "rolled back"


def test_the_champion_scores_a_file(race: list[dict[str, Any]], champion: Team) -> None:
    toy, scores = champion.toy, champion.toy.folder / "scores.parquet"
    words = ("--model", "models:/shop@champion", "--input", toy.data, "--output", scores)
    champion.do("predict", *words)
    model = toy.folder / f"run-{champion.alias('champion')}" / "model"
    assert_frame_equal(pl.read_parquet(scores), load_bundle(model).predict(toy.rows()))


def test_runs_are_compared_and_ranked(challengers: Team, tmp_path: Path) -> None:
    runs = [challengers.toy.folder / f"run-{number}" for number in (1, 2)]
    challengers.do("compare", *runs, "--out", tmp_path / "compared")
    challengers.do("leaderboard", "--metric", "click/auc", "--out", tmp_path / "ranked")
    ranked = (tmp_path / "ranked/result.json").read_text()
    assert all(challengers.result(n)["mlflow"]["run_id"] in ranked for n in (1, 2, 3))


def test_a_training_killed_while_the_database_is_away_is_resumed(
    race: list[dict[str, Any]], champion: Team, contenders: list[Contender]
) -> None:
    """The points of epochs 1 and 2 were never sent; there is a checkpoint of them."""
    out, toy = champion.toy.folder / "run-4", champion.toy.folder / "toy.yaml"
    steps = ("training.checkpoints.every=1", "training.checkpoints.unit=steps")
    words = ("train", toy, "--out", out, "--set", steps[0], "--set", steps[1])
    first, second = contenders
    first.do(*words, epochs=(1, 3))
    assert first.answer() == {"epoch": 1}
    champion.database.stop()
    first.resume()
    assert first.answer() == {"epoch": 3}
    first.kill()
    run_id = json.loads((out / "mlflow_run.json").read_text())["run_id"]
    champion.database.start()
    assert points(run_id)["train/click/loss"] == [0]
    second.do(*words)
    assert second.answer()["status"] == 0
    assert champion.result(4)["mlflow"]["run_id"] == run_id
    stored = points(run_id)
    assert stored["train/click/loss"] == list(range(EPOCHS))
    assert all(len(set(of)) == len(of) for of in stored.values())
    assert stored.keys() == points(champion.result(3)["mlflow"]["run_id"]).keys()
    assert MlflowClient().get_run(run_id).info.status == "FINISHED"
    assert not (out / "mlflow_run.json").exists()


def test_a_database_that_is_away_is_one_line(
    race: list[dict[str, Any]], champion: Team, capsys: pytest.CaptureFixture[str]
) -> None:
    before = champion.alias("champion"), champion.alias("previous")
    champion.database.stop()
    try:
        for words in (("rollback", "shop"), ("leaderboard", "--metric", "click/auc")):
            capsys.readouterr()
            champion.do(*words, code=2)
            lines = capsys.readouterr().err.strip().splitlines()
            assert [line.startswith("error: ") for line in lines] == [True], lines
    finally:
        champion.database.start()
    assert (champion.alias("champion"), champion.alias("previous")) == before
