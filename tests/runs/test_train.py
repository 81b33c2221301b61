from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys_mtl.cli.main import main
from recsys_mtl.config import config_hash, load_config
from recsys_mtl.config.flat import flat
from recsys_mtl.runs import train as train_job
from recsys_mtl.runs.results import TrainingResult
from recsys_mtl.runs.train import train
from recsys_mtl.serving.bundle import load_bundle
from tests.marks import slow_except

Trained = tuple[Any, TrainingResult]

TASKS = {
    "click": "binary",
    "buy": "binary",
    "band": "multiclass",
    "spend": "regression",
    "item": "retrieval",
}


def test_a_run_leaves_its_config_its_model_and_its_result(trained: Trained) -> None:
    toy, result = trained
    names = {path.name for path in toy.run.iterdir()}
    assert names == {"config.yaml", "model", "report.html", "result.json"}
    assert load_config(toy.run / "config.yaml") == toy.config()
    stored = json.loads((toy.run / "result.json").read_text(), parse_constant=pytest.fail)
    assert stored == result.to_dict() == json.loads(json.dumps(result.to_dict()))
    assert list(load_bundle(toy.run / "model").output_schema())[:2] == ["click", "buy"]


def test_the_result_describes_the_run(trained: Trained) -> None:
    toy, result = trained
    assert list(result) == [
        *("job", "version", "started", "seconds", "config_hash"),
        *("name", "seed", "device", "precision", "data"),
        *("recipe", "training", "tasks", "baselines"),
        *("peak_memory_mb", "model", "interrupted", "mlflow", "importance"),
    ]
    assert (result["job"], result["name"], result["seed"]) == ("train", "toy", 0)
    assert (result["device"], result["precision"]) == ("cpu", "fp32")
    assert result["config_hash"] == config_hash(toy.config())
    assert 50 < result["peak_memory_mb"] < 50_000
    data, training = result["data"], result["training"]
    assert sum(data["rows"].values()) == toy.rows().height
    assert data["rows"]["dropped"] == 0
    assert len(data["fingerprint"]) == 64
    assert (data["streamed"], data["warnings"]) == (False, [])
    assert (result["interrupted"], training["stopped"]) == (False, "finished")
    assert [epoch["epoch"] for epoch in training["epochs"]] == [0, 1]
    assert training["best_epoch"] in (0, 1)
    for epoch in training["epochs"]:
        assert epoch["rows"] == data["rows"]["train"]
        for losses in (epoch["train_losses"], epoch["valid_losses"]):
            assert list(losses) == list(TASKS)
            assert all(math.isfinite(loss) for loss in losses.values())
    assert result["baselines"] == {}
    assert set(result["mlflow"].values()) == {None}


def test_the_result_by_name(trained: Trained) -> None:
    _, result = trained
    assert (result.name, result.seed, result.interrupted) == ("toy", 0, False)
    assert result.rows == result["data"]["rows"]
    assert result.training.epochs[1].rows == result.rows["train"]
    auc = result.tasks["click"].main
    assert {"value": auc.value, "low": auc.low, "high": auc.high} == (
        result["tasks"]["click"]["metrics"]["auc"]
    )
    frame = result.to_frame()
    assert frame.height == sum(len(task.metrics) for task in result.tasks.values())
    assert frame.row(0)[:4] == ("click", "binary", "auc", auc.value)
    assert result._repr_html_().count("<tr>") > frame.height, "all rows are shown"
    with pytest.raises(AttributeError):
        result.seed = 1
    assert TrainingResult.of({"interrupted": True}).interrupted


def test_every_task_has_its_metrics(trained: Trained) -> None:
    _, result = trained
    assert {name: task["kind"] for name, task in result["tasks"].items()} == TASKS
    metrics = {name: set(task["metrics"]) for name, task in result["tasks"].items()}
    assert {"auc", "pr_auc", "log_loss", "normalized_entropy"} < metrics["click"]
    assert metrics["buy"] == metrics["click"]
    assert metrics["band"] == {"accuracy", "macro_f1", "log_loss", "ndcg_at_3", "mcfadden_r2"}
    assert metrics["spend"] == {"rmse", "mae", "r2", "rank_correlation"}
    assert metrics["item"] == {"recall_at_1", "recall_at_3", "mrr"}
    labelled = {name: task["labelled"] for name, task in result["tasks"].items()}
    assert labelled["click"] == result["data"]["rows"]["test"]
    assert 0 < labelled["buy"] < labelled["click"]  # only where click == 1
    assert 0 < labelled["spend"] < labelled["click"]  # null is unlabelled


@pytest.mark.slow  # trainings
def test_the_same_seed_gives_the_same_model(trained: Trained, tmp_path: Path) -> None:
    toy, result = trained
    again = train(toy.config(), tmp_path / "again")
    other = train(toy.config("seed=1"), tmp_path / "other")
    assert again["tasks"] == result["tasks"]
    assert other["tasks"] != result["tasks"]
    rows = toy.rows()
    predicted = [load_bundle(run / "model").predict(rows) for run in (toy.run, tmp_path / "again")]
    assert predicted[0].equals(predicted[1])


def test_streamed_training_uses_the_same_rows(trained: Trained, tmp_path: Path) -> None:
    toy, result = trained
    streamed = train(toy.config("data.loading=stream", "data.shuffle_buffer=100"), tmp_path)
    assert streamed["data"] == result["data"] | {"streamed": True}
    assert [e["labelled"] for e in streamed["training"]["epochs"]] == [
        e["labelled"] for e in result["training"]["epochs"]
    ]
    for name, task in streamed["tasks"].items():
        assert task["labelled"] == result["tasks"][name]["labelled"]


SPLITS: dict[str, tuple[str, ...]] = {
    "time": ('data.ignore=["customer"]', "data.split={kind: time, column: day, gap: 1}"),
    "group": ('data.ignore=["day"]', "data.split={kind: group, column: customer}"),
    "files": ("data.split={kind: files, valid: toy.parquet, test: [toy.parquet]}",),
}
NO_TASK_EXPERTS = "model.task_experts=[{kind: mlp}]"  # the default, as if it were left out
EXPERTS = "[{kind: cross, layers: 1, width: 5}, {kind: fm, fields: 2, width: 4}]"
CHOICES: dict[str, tuple[str, ...]] = {
    "ple of two levels, uncertainty": ("model.levels=2", "balancing.name=uncertainty"),
    "mmoe, famo": (NO_TASK_EXPERTS, "model.architecture=mmoe", "balancing.name=famo"),
    "shared bottom, dwa": (
        NO_TASK_EXPERTS,
        "model.architecture=shared_bottom",
        "balancing.name=dwa",
    ),
    "single task, imtl_l": ("model.architecture=single_task", "balancing.name=imtl_l"),
    "aitm, adatt": (
        "model.architecture={name: aitm, chain: [click, band, buy]}",
        "adatt={mechanism: loss, freeze_epoch: 2, warmup_epochs: 0}",
        "adatt.measure.name=logit_correlation",
    ),
    "pepnet of members, cagt": (
        "model.architecture={name: pepnet, domain: [city], prior: [seen, age], hidden: 5}",
        "model.members=2",
        "combiner.name=cagt",
    ),
    "home of groups, gradnorm": (
        "model.architecture={name: home, rank: 3}",
        "adatt.prior.groups={buying: {tasks: [buy, spend]}}",
        "balancing.name=gradnorm",
        "training.averaging={name: ema, decay: 0.9}",
    ),
    "stem, adatt, mgda, bf16": (
        "model.architecture=stem",
        "adatt={mechanism: loss, freeze_epoch: 2, warmup_epochs: 0}",
        "combiner.name=mgda",
        "training.precision=bf16",
    ),
    "stem that borrows, torchrec": (
        "model.architecture=stem",
        "model.embedding={dim: 4, backend: auto}",
        "adatt.mechanism=borrow",
    ),
    "cross and fm experts, stch": (
        f"model.shared_experts={EXPERTS}",
        f"model.task_experts={EXPERTS}",
        "balancing.name=stch",
    ),
    "hashed and quantiles, bf16": (
        "features.city={kind: categorical, encoding: hash, buckets: 7}",
        "features.seen={kind: categorical_list, encoding: hash, buckets: 5, pooling: sum}",
        "features.age={kind: numeric, transform: quantile}",
        "features.income={kind: numeric, transform: {name: piecewise, bins: 4}}",
        "training.precision=bf16",
    ),
    "ids by their counts": (
        "model.embedding={dim: auto, unknown_dropout: 0.25}",
        "features.city={kind: categorical, min_count: auto}",
        "features.seen={kind: categorical_list, dim: auto, unknown_dropout: 2.0}",
        "training.tables.weight_decay=0.1",
    ),
    "losses and transfer": (
        "tasks.click={kind: binary, loss: focal}",
        "tasks.spend={kind: regression, loss: huber, transform: log1p}",
        "model.logit_transfer=[{source: click, target: buy}]",
        "model.gates.preferred={buy: [shared.0]}",
        "model.match_width=scale",
    ),
    "sgd tables, constant rate": (
        "training.tables.name=sgd",
        "training.optimizer.schedule=constant",
        "training.early_stopping.metric=click/auc",
    ),
} | {f"split by {name}": overrides for name, overrides in SPLITS.items()}


QUICK = ("ple of two levels, uncertainty", "hashed and quantiles, bf16")


@pytest.mark.parametrize("name", slow_except(QUICK, CHOICES))
def test_choices_train(name: str, shared_toy: Any, tmp_path: Path) -> None:
    overrides = (*CHOICES[name], "training.epochs=1")
    result = train(shared_toy.config(*overrides), tmp_path)
    assert math.isfinite(sum(result["training"]["epochs"][0]["train_losses"].values()))
    assert result["training"]["skipped_batches"] == 0
    values = [m["value"] for task in result["tasks"].values() for m in task["metrics"].values()]
    assert len(values) == 24
    assert all(math.isfinite(value) for value in values)
    assert load_bundle(tmp_path / "model").predict(shared_toy.rows()).height == 500


def test_an_undefined_metric_has_its_reason(toy: Any, tmp_path: Path) -> None:
    rows = toy.rows()
    rows.write_parquet(toy.folder / "valid.parquet")
    one_class = rows.with_columns(pl.lit(1).alias("click"))
    one_class.write_parquet(toy.folder / "test.parquet")
    split = "data.split={kind: files, valid: valid.parquet, test: test.parquet}"
    result = train(toy.config(split, "training.epochs=1"), tmp_path)
    auc = result["tasks"]["click"]["metrics"]["auc"]
    assert auc["value"] is None
    assert "class" in auc["reason"]


def test_the_default_folder_is_named_after_the_run(
    toy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(toy.folder)
    assert main(["train", "toy.yaml", "--set", "training.epochs=1", "--seed", "3"]) == 0
    result = json.loads((toy.folder / "runs" / "toy" / "result.json").read_text())
    assert result["seed"] == 3
    out = capsys.readouterr().out
    assert all(task in out for task in TASKS)


def interrupt(seconds: float = 120.0) -> threading.Thread:
    """Send Ctrl-C as soon as the training listens for it."""
    usual = signal.getsignal(signal.SIGINT)

    def send() -> None:
        end = time.monotonic() + seconds
        while signal.getsignal(signal.SIGINT) is usual:
            if time.monotonic() > end:
                return
            time.sleep(0.01)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_an_interrupt_keeps_what_was_learned(
    toy: Any, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    endless = ["training.epochs=100000", "training.early_stopping.patience=null"]
    overrides = [part for override in endless for part in ("--set", override)]
    thread = interrupt()
    arguments = ["train", str(toy.folder / "toy.yaml"), "--out", str(toy.run), "--baselines"]
    assert main([*arguments, *overrides]) == 130
    thread.join()
    assert capsys.readouterr().err == "error: interrupted\n"
    assert f"{toy.run} holds the best epoch" in caplog.text
    result = json.loads((toy.run / "result.json").read_text())
    assert result["interrupted"] is True
    assert result["training"]["stopped"] == "interrupted"
    assert result["tasks"]["click"]["metrics"]["log_loss"]["value"] > 0
    assert result["baselines"] == {}
    assert load_bundle(toy.run / "model").predict(toy.rows()).height == 500


def test_an_interrupt_during_the_baselines_keeps_those_that_finished(
    toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(config: Any, prepared: Any, *_: Any) -> Iterator[tuple[str, Any]]:
        yield "constant", {name: {} for name in config.tasks}
        raise KeyboardInterrupt

    monkeypatch.setattr(train_job, "run_baselines", interrupted)
    result = train(toy.config("training.epochs=1"), toy.run, baselines=True)
    assert result["interrupted"] is True
    assert result["training"]["stopped"] == "finished"
    assert list(result["baselines"]) == ["constant"]
    assert result.to_frame().columns[-1] == "constant"
    assert (toy.run / "result.json").is_file()


def test_no_report_of_an_earlier_run_stays(toy: Any) -> None:
    toy.run.mkdir()
    (toy.run / "result.json").write_text('{"job": "train"}')
    for name in ("report.html", "notes.html"):
        (toy.run / name).write_text("earlier")
    train(toy.config("training.epochs=1"), toy.run, report=False)
    assert not (toy.run / "report.html").exists()
    assert (toy.run / "notes.html").read_text() == "earlier"


@pytest.mark.slow  # mlflow, and the model loaded in a process of its own
def test_a_tracked_run_is_found_in_mlflow(toy: Any) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{toy.folder}/mlflow.db"
    config = toy.config(f"tracking={{uri: {uri}, experiment: tries}}")
    result = train(config, toy.run)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tries")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_id == result["mlflow"]["run_id"]
    assert (run.info.status, run.info.run_name) == ("FINISHED", "toy")
    assert result["mlflow"]["tracking_uri"] == uri
    assert run.data.tags["data_fingerprint"] == result["data"]["fingerprint"]
    assert run.data.tags["config_hash"] == result["config_hash"]
    assert "- click: auc 0." in run.data.tags["mlflow.note.content"]
    (logged,) = run.inputs.dataset_inputs
    assert result["data"]["fingerprint"].startswith(logged.dataset.digest)
    assert json.loads(logged.dataset.source) == {"uri": str(toy.data)}
    assert json.loads(logged.dataset.profile)["train"] == result["data"]["rows"]["train"]
    columns = json.loads(logged.dataset.schema)["mlflow_colspec"]
    assert {"name": "click", "type": "binary"} in columns
    params = flat(config.model_dump())
    assert set(run.data.params) == set(params)
    for name in ("training.epochs", "tasks.buy.only_where", "data.split.kind", "seed"):
        assert run.data.params[name] == str(params[name])
    for name, task in result["tasks"].items():
        for metric, value in task["metrics"].items():
            assert run.data.metrics[f"test/{name}/{metric}"] == pytest.approx(value["value"])
        for key in (f"train/{name}/loss", f"valid/{name}/loss", f"gate_entropy/{name}"):
            assert [m.step for m in client.get_metric_history(run.info.run_id, key)] == [0, 1]
        assert f"weight/{name}" not in run.data.metrics
    first = min(run.data.metrics, key=str)
    assert first.startswith("across_tasks/")
    assert len(run.data.metrics) < 80
    losses = client.get_metric_history(run.info.run_id, "train/click/loss")
    epochs = result["training"]["epochs"]
    assert [m.value for m in losses] == pytest.approx([e["train_losses"]["click"] for e in epochs])

    def files(folder: str) -> set[str]:
        return {file.path for file in client.list_artifacts(run.info.run_id, folder)}

    assert {"config.yaml", "report.html", "result.json", "plots", "tables"} <= files("")
    assert files("tables") == {"tables/metrics.csv"}
    plots = {"plots/loss.png", "plots/calibration.png", "plots/gate_use.png"}
    assert files("plots") == plots
    stored = client.download_artifacts(run.info.run_id, "config.yaml", str(toy.folder))
    assert load_config(stored) == config
    assert result["mlflow"]["model_uri"].startswith("models:/")
    assert result["mlflow"]["largest_difference"] <= 1e-6
