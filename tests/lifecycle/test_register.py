from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from mlflow import MlflowClient
from mlflow.models import Model

from recsys_mtl.cli.main import main
from recsys_mtl.config import dump_config
from recsys_mtl.errors import UserError
from recsys_mtl.lifecycle import register as registering
from recsys_mtl.lifecycle.register import register
from recsys_mtl.runs.compare import compare
from recsys_mtl.runs.train import train
from recsys_mtl.serving.bundle import load_bundle
from recsys_mtl.serving.mlflow_model import signature
from recsys_mtl.serving.pandas_rows import to_pandas
from recsys_mtl.tracking.bundle_cache import bundle_hash
from recsys_mtl.tracking.registry import Registry

pytestmark = pytest.mark.slow  # a store of MLflow takes seconds to make


def same(model_uri: str, uri: str, example: pl.DataFrame, expected: pl.DataFrame) -> float:
    assert example.height == expected.height == 3
    return 1e-9


@dataclass(frozen=True)
class Training:
    """A run folder whose run and model a store knows."""

    folder: Path
    uri: str
    run_id: str
    model_uri: str

    def change(self, change: Callable[[dict[str, Any]], object]) -> None:
        path = self.folder / "result.json"
        result = json.loads(path.read_text())
        change(result)
        path.write_text(json.dumps(result))

    def end(self, status: str) -> None:
        MlflowClient(self.uri).set_terminated(self.run_id, status)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """URI and an experiment's id."""
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder}/mlflow.db"
    artifacts = (folder / "mlartifacts").as_uri()
    return uri, MlflowClient(uri).create_experiment("tries", artifact_location=artifacts)


@pytest.fixture
def training(trained: Any, store: tuple[str, str], tmp_path: Path) -> Training:
    """What a tracked training leaves; its logged model has all but the code."""
    toy, _ = trained
    uri, experiment = store
    client = MlflowClient(uri)
    tags = {"mlflow.source.git.commit": "c0ffee", "mlflow.runName": "toy run"}
    run_id = client.create_run(experiment, tags=tags).info.run_id
    folder = Path(shutil.copytree(toy.run, tmp_path / "run"))
    model = client.create_logged_model(experiment, "toy", run_id)
    logged = tmp_path / "logged"
    shutil.copytree(folder / "model", logged / "artifacts" / "model")
    predictor, rows = load_bundle(folder / "model"), toy.rows().head(3)
    info = {"artifact_path": "example.json", "type": "dataframe", "pandas_orient": "split"}
    example = to_pandas(rows.select(predictor.columns))
    example.to_json(logged / "example.json", orient="split", index=False)
    described = signature(predictor, rows.select(predictor.columns))
    Model(signature=described, saved_input_example_info=info).save(str(logged / "MLmodel"))
    client.log_model_artifacts(model.model_id, str(logged))
    training = Training(folder, uri, run_id, model.model_uri)
    stored = {"run_id": run_id, "tracking_uri": uri, "model_uri": model.model_uri}
    training.change(lambda result: result["mlflow"].update(stored))
    client.log_artifact(run_id, str(folder / "result.json"))
    client.log_artifact(run_id, str(folder / "config.yaml"))
    client.set_terminated(run_id, "FINISHED")
    return training


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return f"model of {hash(request.node.nodeid)}".replace("-", "")


def test_a_version_of_a_folder(
    training: Training,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(registering, "register", partial(register, verify=same))
    out = tmp_path / "out"
    assert main(["register", str(training.folder), "--name", name, "--out", str(out)]) == 0
    result = json.loads((out / "result.json").read_text())
    registry = Registry(training.uri)
    (version,) = registry.versions(name)
    trained = json.loads((training.folder / "result.json").read_text())
    assert (version.source, version.run_id) == (training.model_uri, training.run_id)
    auc = trained["tasks"]["click"]["metrics"]["auc"]["value"]
    assert dict(version.tags) == result["tags"]
    assert (
        result["tags"]
        | {
            "bundle_sha256": bundle_hash(training.folder / "model"),
            "data_fingerprint": trained["data"]["fingerprint"],
            "config_hash": trained["config_hash"],
            "git_revision": "c0ffee",
            "recsys_mtl": trained["version"],
            "metric/click/auc": f"{auc:.6g}",
        }
        == result["tags"]
    )
    assert result["job"] == "register"
    card = (out / "model_card.md").read_text()
    assert f"# Model card: {name}" in card
    assert (out / "model_card.html").is_file()
    client = MlflowClient(training.uri)
    stored = client.download_artifacts(training.run_id, "model_card.md", str(tmp_path))
    lists = Path(stored).read_text()
    assert lists.splitlines()[:3] == card.splitlines()[:3]
    assert "\n|" not in lists
    description = client.get_model_version(name, "1").description
    assert description == lists or description.endswith(f"model_card.md of run {training.run_id}.")
    assert f"models:/{name}/1" in capsys.readouterr().out


def test_a_version_of_a_run_id(training: Training, name: str) -> None:
    shutil.rmtree(training.folder)
    result = register(training.run_id, name=name, tracking_uri=training.uri, verify=same).numbers
    assert (result["number"], result["model_uri"]) == (1, training.model_uri)


def test_what_is_registered_can_be_loaded(
    training: Training, name: str, tmp_path: Path, trained: Any
) -> None:
    register(str(training.folder), name=name, verify=same)
    registry = Registry(training.uri)
    version = registry.resolve(f"{name}/1", where="--model")
    predictor = load_bundle(registry.download(version, tmp_path / "bundle"))
    rows = trained[0].rows().head(7)
    assert predictor.predict(rows).equals(load_bundle(training.folder / "model").predict(rows))


def test_a_model_is_registered_once(training: Training, name: str) -> None:
    register(str(training.folder), name=name, verify=same)
    with pytest.raises(UserError, match="registered already, as version 1"):
        register(training.run_id, name=name, tracking_uri=training.uri, verify=same)
    assert len(Registry(training.uri).versions(name)) == 1


def differs(*_: object) -> float:
    return 0.125


def fails(*_: object) -> float:
    raise RuntimeError("the logged model fails:\nTraceback\nKeyError: 'age'")


def unlogged(training: Training) -> None:
    training.change(lambda result: result["mlflow"].update(model_uri=None))


def untracked(training: Training) -> None:
    unlogged(training)
    training.change(lambda result: result["mlflow"].update(run_id=None))


def changed(training: Training) -> None:
    path = training.folder / "model" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def replaced(training: Training) -> None:
    path = training.folder / "model" / "manifest.json"
    path.write_text(path.read_text() + "\n")


def another_job(training: Training) -> None:
    training.change(lambda result: result.update(job="evaluate"))


def unknown_run(training: Training) -> None:
    training.change(lambda result: result["mlflow"].update(run_id="0" * 32))


def unknown_model(training: Training) -> None:
    training.change(lambda result: result["mlflow"].update(model_uri="models:/m-0"))


@pytest.mark.parametrize(
    ("harm", "verify", "message"),
    [
        (None, differs, r"fresh process.*differ by 0.125"),
        (None, fails, r"fresh process.*KeyError: 'age'"),
        (untracked, same, "not tracked"),
        (unlogged, same, "could not log its model"),
        (changed, same, r"weights.safetensors: .*changed since it was saved"),
        (replaced, same, "changed since it was logged"),
        (another_job, same, "expected job train; found evaluate"),
        (unknown_run, same, "0000.*not found"),
        (unknown_model, same, "m-0"),
        (lambda training: training.end("KILLED"), same, "did not finish.*KILLED.*--allow-inter"),
        (lambda training: training.end("FAILED"), same, "did not finish.*FAILED"),
        (lambda training: training.end("RUNNING"), same, "did not finish.*RUNNING.*wait"),
    ],
)
def test_what_is_wrong_registers_nothing(
    training: Training,
    name: str,
    harm: Callable[[Training], None] | None,
    verify: Callable[..., float],
    message: str,
) -> None:
    if harm is not None:
        harm(training)
    with pytest.raises(UserError, match=message) as caught:
        register(str(training.folder), name=name, verify=verify)
    assert str(caught.value).count("\n") == 0
    assert name not in Registry(training.uri).names()
    files = {file.path for file in MlflowClient(training.uri).list_artifacts(training.run_id)}
    assert "model_card.md" not in files


@pytest.mark.parametrize("part", ["signature", "input example"])
def test_an_incomplete_model_is_refused(training: Training, name: str, part: str) -> None:
    client = MlflowClient(training.uri)
    model = client.get_logged_model(training.model_uri.removeprefix("models:/"))
    path = Path(model.artifact_location.removeprefix("file://")) / "MLmodel"
    described = Model.load(str(path))
    if part == "signature":
        described.signature = None
    else:
        described.saved_input_example_info = None
    described.save(str(path))
    with pytest.raises(UserError, match=f"no {part}"):
        register(str(training.folder), name=name, verify=same)


def test_an_interrupted_run_on_demand(training: Training, name: str) -> None:
    training.end("KILLED")
    training.change(lambda result: result.update(interrupted=True))
    register(str(training.folder), name=name, allow_interrupted=True, verify=same)
    description = MlflowClient(training.uri).get_model_version(name, "1").description
    assert "was interrupted" in description


def test_credentials_that_were_left_out(
    training: Training, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = "http://***@server"
    training.change(lambda result: result["mlflow"].update(tracking_uri=hidden))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", training.uri)
    assert register(str(training.folder), name=name, verify=same).numbers["number"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such run"),
        (["0" * 32], "not found"),
        (["{empty}"], "no result.json"),
        (["{run}", "--tracking-uri", "http://127.0.0.1:9"], "refused"),
        (["{run}", "--tracking-uri", "sqlite:///{empty}/none.db"], "no such MLflow database"),
        (["{run}", "--name", "a/b"], "not a name"),
    ],
)
def test_wrong_uses_are_one_line(
    training: Training,
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", training.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    empty = tmp_path / "empty"
    empty.mkdir()
    named = [text.format(run=training.folder, empty=empty) for text in arguments]
    assert main(["register", *(["--name", "fine"] if "--name" not in named else []), *named]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert [line.startswith("error: ") for line in error.splitlines()] == [True]
    assert "fine" not in Registry(training.uri).names()


@pytest.mark.slow  # a training, and two fresh processes
def test_a_real_training(toy: Any, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    config = toy.config(f"tracking={{enabled: true, uri: '{uri}', experiment: tries}}")
    result = train(config, toy.run)
    assert main(["register", str(toy.run), "--name", "toy"]) == 0
    client = MlflowClient(uri)
    (version,) = Registry(uri).versions("toy")
    assert version.source == result["mlflow"]["model_uri"]
    model = client.get_logged_model(version.source.removeprefix("models:/"))
    shown = {metric.key: metric for metric in model.metrics}
    best = result["training"]["best_epoch"]
    for task, facts in result["tasks"].items():
        for name, metric in facts["metrics"].items():
            assert shown[f"test/{task}/{name}"].value == pytest.approx(metric["value"])
    assert {metric.step for metric in model.metrics} == {best}
    valid = result["training"]["epochs"][best]["valid_losses"].values()
    assert shown["valid/loss"].value == pytest.approx(sum(valid) / len(valid))
    both = [str(toy.run), result["mlflow"]["run_id"]]  # a folder's model, and MLflow's
    compared = compare(both, tracking_uri=uri).numbers
    assert "differences" in compared["rule"]
    assert all(d == [dict.fromkeys(d[0], 0.0)] for d in compared["differences"].values())
    assert len(compared["differences"]) == len(result["tasks"])
    assert dump_config(load_bundle(toy.run / "model").config) == dump_config(config)
