from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from recsys_mtl.cli.main import main
from recsys_mtl.runs.leaderboard import leaderboard
from recsys_mtl.tracking.registry import Registry

pytestmark = pytest.mark.slow  # a store of MLflow takes seconds to make

METRICS = {
    "low": {"test/a/auc": 0.5, "test/b/rmse": 3.0, "test/b/rank_correlation": 0.25},
    "high": {"test/a/auc": 0.75, "test/b/rmse": 2.0, "test/b/rank_correlation": 0.5},
    "other": {"valid/loss": 0.125, "valid/a/auc": 0.99},
    "middle": {"test/a/auc": 0.625, "valid/loss": 0.25, "test/a/calibration_ratio": 1.0},
}


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Four finished runs, a failed one, one of another experiment, and a model of `high`."""
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder}/mlflow.db"
    client = MlflowClient(uri)
    artifacts = (folder / "mlartifacts").as_uri()
    ids = {}
    experiment = client.create_experiment("tries", artifact_location=artifacts)
    for name, metrics in METRICS.items():
        made = client.create_run(experiment, run_name=name, tags={"data_fingerprint": "f00"})
        ids[name] = made.info.run_id
        for key, value in metrics.items():
            client.log_metric(ids[name], key, value)
        client.set_terminated(ids[name], "FINISHED")
    failed = client.create_run(experiment, run_name="failed").info.run_id
    client.log_metric(failed, "test/a/auc", 0.9)
    client.set_terminated(failed, "FAILED")
    elsewhere = client.create_run(client.create_experiment("more"), run_name="elsewhere")
    client.log_metric(elsewhere.info.run_id, "test/a/auc", 0.875)
    client.set_terminated(elsewhere.info.run_id, "FINISHED")
    model = client.create_logged_model(experiment, "toy", ids["high"])
    registry = Registry(uri)
    registry.create("toy", model_uri=model.model_uri, run_id=ids["high"], tags={}, description="")
    registry.set_alias("toy", "champion", 1)
    return uri


@pytest.mark.parametrize(
    ("metric", "names", "first"),
    [
        (None, ["middle", "high", "low", "other"], 0.625),
        ("a/auc", ["high", "middle", "low", "other"], 0.75),
        ("b/rmse", ["high", "low", "middle", "other"], 2.0),
        ("loss", ["other", "middle", "high", "low"], 0.125),
    ],
)
def test_best_first(uri: str, metric: str | None, names: list[str], first: float) -> None:
    result = leaderboard(experiment="tries", metric=metric, tracking_uri=uri).numbers
    assert [entry["name"] for entry in result["runs"]][:2] == names[:2]
    assert {entry["name"] for entry in result["runs"]} == set(names)
    assert result["runs"][0]["value"] == first


def test_means_and_models(uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--metric", "a/auc", "--tracking-uri", uri, "--out", str(tmp_path)]
    assert main(["leaderboard", *arguments]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    by_name = {entry["name"]: entry for entry in result["runs"]}
    assert list(by_name)[:2] == ["elsewhere", "high"]
    assert by_name["high"]["mean"] == 0.625
    assert by_name["other"]["mean"] is None
    champion = {"name": "toy", "number": 1, "aliases": ["champion"]}
    assert by_name["high"]["models"] == [champion]
    assert by_name["low"]["models"] == []
    text = (tmp_path / "leaderboard.md").read_text()
    assert "| toy/1 @champion | 0.7500 | 0.6250 |" in text
    assert "Runs of different data cannot be compared" in text
    assert result["job"] == "leaderboard"
    assert "toy/1 @champion" in capsys.readouterr().out


def test_a_limit(uri: str) -> None:
    result = leaderboard(experiment="tries", limit=3, tracking_uri=uri).numbers
    assert (len(result["runs"]), result["finished"]) == (3, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--experiment", "trues"], "did you mean 'tries'"),
        (["--metric", "a/auk"], "did you mean 'auc'"),
        (["--metric", "c/auc"], "did you mean 'a/auc'"),
        (["--metric", "a/calibration_ratio"], "not a metric"),
        (["--metric", "b/pr_auc"], "no finished run has this metric"),
        (["--tracking-uri", "sqlite:////nowhere/mlflow.db"], "no such MLflow database"),
        (["--tracking-uri", "http://127.0.0.1:9"], "refused"),
    ],
)
def test_wrong_uses_are_one_line(
    uri: str,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert main(["leaderboard", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
