"""What a training with combined gradients, or with GradNorm, leaves behind."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from recsys_mtl.ablation.ablate import ablate
from recsys_mtl.ablation.plan import load_ablation
from recsys_mtl.boosting import default_name
from recsys_mtl.config import Config
from recsys_mtl.runs import train as train_job
from recsys_mtl.runs.train import train
from recsys_mtl.tracking.run import NullRun
from recsys_mtl.wiring import trainer
from recsys_mtl.wiring.trainer import Fitted, fit_network
from tests.proof import without_proof

Document = dict[str, Any]
CAGT = ("combiner.name=cagt", "combiner.block=expert")
BLOCKS = ["shared.0", "embeddings"]
TASKS = ("click", "buy", "band", "spend", "item")


class RecordingRun(NullRun):
    """Records what a tracker receives."""

    id = "recorded"  # type: ignore[assignment]

    def __init__(self) -> None:
        self.steps: dict[str, list[Any]] = {}
        self.figures: list[str] = []

    def metrics(
        self, values: Mapping[str, float | None], step: int, at: float | None = None
    ) -> None:
        for name, value in values.items():
            self.steps.setdefault(name, []).append(value)

    def figure(self, name: str, figure: Any) -> None:
        self.figures.append(name)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> RecordingRun:
    """Replaces MLflow."""
    run = RecordingRun()
    monkeypatch.setattr(train_job, "open_run", lambda *args, **options: run)
    return run


def values(result: Document) -> dict[tuple[str, str], float]:
    """The test metrics."""
    return {
        (task, name): metric["value"]
        for task, conflicts in result["tasks"].items()
        for name, metric in conflicts["metrics"].items()
    }


def conflicts_of(result: Document) -> list[Document | None]:
    return [epoch["conflicts"] for epoch in result["training"]["epochs"]]


@pytest.mark.slow  # mlflow
def test_result_and_tracker_know_where_tasks_conflict(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_proof(monkeypatch)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracking = ("tracking.enabled=true", f"tracking.uri={uri}")
    result = train(toy.config(*CAGT, *tracking), tmp_path / "run")
    stored = json.loads((tmp_path / "run" / "result.json").read_text(), parse_constant=pytest.fail)
    epochs = conflicts_of(stored)
    assert len(epochs) == 2
    for conflicts in epochs:
        assert conflicts is not None
        assert list(conflicts["conflict_ratio"]) == list(conflicts["task_cosine"]) == BLOCKS
        assert list(conflicts["task_cosine"]["shared.0"]) == list(TASKS)
        assert [len(row) for row in conflicts["pair_cosine"]] == [5] * 5
        assert (conflicts["steps"], conflicts["skipped"]) == (
            math.ceil(stored["data"]["rows"]["train"] / 64),
            0,
        )
        assert all(0 <= ratio <= 1 for ratio in conflicts["conflict_ratio"].values())
        assert conflicts["extra"]["lambda"] == pytest.approx(0.3)
    client, run_id = MlflowClient(uri), result["mlflow"]["run_id"]
    run, last = client.get_run(run_id), epochs[-1]
    assert last is not None
    metrics = run.data.metrics
    assert metrics["combiner/lambda"] == pytest.approx(0.3)
    for block, ratio in last["conflict_ratio"].items():
        assert metrics[f"combiner/conflict_ratio/{block}"] == pytest.approx(ratio)
    assert metrics["combiner/conflict_ratio"] == pytest.approx(
        sum(last["conflict_ratio"].values()) / 2
    )
    assert metrics["combiner/cosine/click/spend"] == pytest.approx(last["pair_cosine"][0][3])
    assert metrics["combiner/weight/item"] == pytest.approx(last["weights"]["item"])
    assert [m.step for m in client.get_metric_history(run_id, "combiner/lambda")] == [0, 1]
    assert run.data.params["combiner.name"] == "cagt"
    assert "plots/conflicts.png" in {f.path for f in client.list_artifacts(run_id, "plots")}


@pytest.mark.slow  # trainings
def test_the_same_seed_gives_the_same_metrics(shared_toy: Any, tmp_path: Path) -> None:
    drawn = ("combiner.name=pcgrad", "combiner.block=expert")
    first, again, other = (
        train(shared_toy.config(*chosen, "training.epochs=1"), tmp_path / str(number))
        for number, chosen in enumerate((drawn, drawn, CAGT))
    )
    assert values(again) == values(first)
    assert conflicts_of(again) == conflicts_of(first)
    assert values(other) != values(first)


def test_measuring_a_sum_changes_nothing(
    trained: tuple[Any, Document], recorded: RecordingRun, tmp_path: Path
) -> None:
    toy, plain = trained
    measured = train(toy.config("combiner.diagnostics=2", "combiner.block=expert"), tmp_path)
    assert conflicts_of(plain) == [None, None]
    assert values(measured) == pytest.approx(values(plain), abs=1e-6)
    conflicts = conflicts_of(measured)[-1]
    assert conflicts is not None
    steps = 2 * math.ceil(plain["data"]["rows"]["train"] / 64)
    assert sum(recorded.steps["combiner/steps"]) == math.ceil(steps / 2)
    assert conflicts["length_ratio"] == {block: pytest.approx(1) for block in BLOCKS}
    assert (
        recorded.steps["combiner/conflict_ratio/shared.0"][-1]
        == conflicts["conflict_ratio"]["shared.0"]
    )
    assert recorded.steps["combiner/weight/click"] == [1.0, 1.0]
    assert len(recorded.steps["combiner/cosine/click/buy"]) == 2
    assert "plots/conflicts.png" in recorded.figures


def test_gradnorm_moves_the_weights_of_tasks(toy: Any, recorded: RecordingRun) -> None:
    on = ("balancing.name=gradnorm", "balancing.learning_rate=0.1")
    result = train(toy.config(*on), toy.run)
    assert result["training"]["skipped_batches"] == 0
    weights = {task: recorded.steps[f"weight/{task}"] for task in TASKS}
    assert all(len(of_task) == 2 and of_task[0] != of_task[1] for of_task in weights.values())
    for epoch in range(2):
        assert sum(of_task[epoch] for of_task in weights.values()) == pytest.approx(5, rel=1e-4)
    assert "plots/conflicts.png" not in recorded.figures
    assert not [name for name in recorded.steps if name.startswith("combiner/")]
    assert all(math.isfinite(value) for value in values(result).values())


def test_gradnorm_and_a_combiner_go_together(
    shared_toy: Any, recorded: RecordingRun, tmp_path: Path
) -> None:
    on = (*CAGT, "balancing.name=gradnorm", "training.epochs=1")
    result = train(shared_toy.config(*on), tmp_path)
    assert recorded.steps["weight/click"] != [1.0]
    assert recorded.steps["combiner/lambda"] == [pytest.approx(0.3)]
    assert all(math.isfinite(value) for value in values(result).values())


@pytest.mark.usefixtures("one_thread")
@pytest.mark.slow  # seven trainings and the boosting
def test_baselines_leave_out_what_needs_other_tasks(
    toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Config] = []

    def fit(config: Config, prepared: Any) -> Fitted:
        seen.append(config)
        return fit_network(config, prepared)

    monkeypatch.setattr(trainer, "fit_network", fit)
    on = (*CAGT, "balancing={name: gradnorm, alpha: 0.5}", "training.epochs=1")
    result = train(toy.config(*on), toy.run, baselines=True)
    assert list(result["baselines"]) == [
        *("constant", default_name(), "single_task", "shared_bottom")
    ]
    *single, bottom = seen
    assert [list(config.tasks) for config in single] == [[task] for task in TASKS]
    assert {config.combiner.name for config in seen} == {"sum"}
    assert {config.balancing.name for config in single} == {"fixed"}
    assert bottom.model.architecture.name == "shared_bottom"
    assert all(epoch is not None for epoch in conflicts_of(result))
    click = result["baselines"]["single_task"]["click"]["log_loss"]
    assert math.isfinite(click["value"])
    difference = result["baselines"]["constant"]["item"]["mrr"]["difference"]
    assert difference["low"] < difference["value"] < difference["high"]


@pytest.mark.slow  # eight trainings
def test_an_ablation_of_combiners(toy: Any) -> None:
    path, out = toy.folder / "ablation.yaml", toy.folder / "out"
    document = {
        "name": "combiners",
        "base": str(toy.folder / "toy.yaml"),
        "change": {"training.epochs": 1},
        "seeds": {"first": 5, "count": 2},
        "ready": ["off", "cagt", "gradnorm"],
        "arms": {"by_expert": {"combiner.name": "pcgrad", "combiner.block": "expert"}},
        "tracking": {"enabled": False},
    }
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    result = ablate(load_ablation(path), out, processes=1)
    names = ["off", "cagt", "gradnorm", "by_expert"]
    assert list(result["summary"]["arms"]) == names
    units = {
        (name, seed): json.loads((out / "units" / name / f"seed-{seed}.json").read_text())
        for name in names
        for seed in (5, 6)
    }
    for seed in (5, 6):
        hashes = {units[name, seed]["config_hash"] for name in names}
        losses = {tuple(units[name, seed]["losses"].values()) for name in names}
        assert len(hashes) == len(losses) == len(names)
    assert all(math.isfinite(score) for unit in units.values() for score in unit["scores"].values())
