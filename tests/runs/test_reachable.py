"""The share of the reachable: 0 is the constant, 1 the oracle, on the very rows of a model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from data_synth import Truth, load_plan
from recsys_mtl.cli.main import main
from recsys_mtl.config import Config, load_config
from recsys_mtl.data.opening import open_splits
from recsys_mtl.errors import UserError
from recsys_mtl.metrics import Undefined
from recsys_mtl.runs.evaluate import evaluate
from recsys_mtl.runs.reachable import reachable, row_ids, to_json, true_target
from recsys_mtl.runs.train import train
from recsys_mtl.synthetic.synthesize import synthesize
from recsys_mtl.tasks.evaluate import evaluate_task
from recsys_mtl.training.evaluate import Scores

PLAN = """
name: shop
preset: demo
tasks:
  shop: {kind: retrieval, items: 12}
  stay: {kind: complement, of: click}
  share: {kind: regression, distribution: unit, label_noise: 0.2}
"""
SMALL = [
    "tracking.enabled=false", "training.epochs=2", "training.device=cpu", "training.recipe=none",
    "training.batch_size=256", "model.embedding={dim: 4, backend: plain}",
    "model.shared_experts=[{kind: mlp, hidden: [16]}]",
    "model.task_experts=[{kind: mlp, hidden: [8]}]", "model.tower={hidden: [8]}",
    "tasks.shop.dim=4",
]  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3,000 rows of the demo with every kind of task, and a run trained on them."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "plan.yaml").write_text(PLAN)
    synthesize(load_plan(folder / "plan.yaml"), rows=3000, out=folder / "data", processes=1)
    train(config_of(folder), folder / "run")
    return folder


def config_of(folder: Path) -> Config:
    root = f'data.root="{folder / "data"}"'
    return load_config(folder / "data" / "train.yaml", [root, *SMALL])


def scores_of(config: Config, predict: Callable[[str, Any, Any], Any]) -> tuple[Any, Scores]:
    """What a model would get whose prediction of a task is `predict(name, linear, labels)`."""
    test = open_splits(config).rows("test")
    rows = pl.concat(list(test.frames(["row_id", *config.tasks])))
    truth = Truth.open(Path(config.data.root))
    linear = truth.linear(rows["row_id"].to_numpy(), list(config.tasks))
    labels = {name: truth.label_index(name, rows[name].to_arrow()) for name in config.tasks}
    weights = np.ones(len(rows))
    metrics = {
        name: evaluate_task(task.kind, labels[name], predict(name, linear, labels), weights)
        for name, task in config.tasks.items()
    }
    return test, Scores({}, {}, metrics, {}, labels, weights, {})


@pytest.mark.slow  # many rows
def test_an_oracle_has_reached_all(shop: Path) -> None:
    config, truth = config_of(shop), Truth.open(shop / "data")

    def oracle(name: str, linear: Any, labels: Any) -> Any:
        target = truth.targets[name]
        if config.tasks[name].kind != "retrieval":
            return target.predict(linear[name])
        return target.ranks(linear[name], labels[name].astype(int)).astype(float)  # type: ignore[union-attr]

    test, scores = scores_of(config, oracle)
    references = reachable(config, test, scores)
    assert list(references) == ["constant", "oracle", "reached"]
    assert list(references["reached"]) == list(config.tasks)
    for name, shares in references["reached"].items():
        assert len(shares) >= 2, name
        assert shares == pytest.approx(dict.fromkeys(shares, 1.0)), name
    assert {"auc", "pr_auc", "log_loss"} <= references["reached"]["click"].keys()
    assert {"accuracy", "macro_f1", "log_loss"} <= references["reached"]["segment"].keys()
    assert {"r2", "rank_correlation"} <= references["reached"]["value"].keys()
    assert {"mrr", "recall_at_5"} <= references["reached"]["shop"].keys()


def test_a_constant_has_reached_nothing(shop: Path) -> None:
    config, truth = config_of(shop), Truth.open(shop / "data")

    def constant(name: str, linear: Any, labels: Any) -> Any:
        value = truth.targets[name].constant()
        if config.tasks[name].kind != "retrieval":
            return np.broadcast_to(value, (len(labels[name]), *value.shape))
        order = np.argsort(-value)
        return 1.0 + np.argsort(order)[labels[name].astype(int)]

    test, scores = scores_of(config, constant)
    for name, shares in reachable(config, test, scores)["reached"].items():
        assert shares, name
        assert shares == pytest.approx(dict.fromkeys(shares, 0.0), abs=1e-12), name


@pytest.mark.parametrize(
    ("change", "known"),
    [
        ("tasks.click.positive=1", True),
        ("tasks.click.positive=['True', ' 1.0']", True),
        ("tasks.click.positive=0", False),
        ("tasks.click={kind: count}", False),
        ("tasks.click={kind: multiclass}", False),
        ("tasks.segment.classes=[class_000, class_001, class_002, class_003]", True),
        ("tasks.segment.classes=[class_003, class_001, class_002, class_000]", False),
        ("tasks.segment.classes=[class_000, class_001, class_002, class_003, other]", False),
        ("tasks.segment={kind: binary, positive: class_000}", False),
    ],
)
def test_labels_that_mean_something_else_have_no_truth(
    shop: Path, change: str, known: bool
) -> None:
    root = f'data.root="{shop / "data"}"'
    config = load_config(shop / "data" / "train.yaml", [root, *SMALL, change])
    truth, task = Truth.open(shop / "data"), change.split(".")[1].split("=")[0]
    linear = truth.linear(np.arange(5), [task])
    assert (true_target(config, truth, linear, task) is not None) == known


def test_evaluate_prints_and_stores_it(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(shop / "run"), "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    for word in ("constant", "oracle", "reached", "share of the way"):
        assert word in out
    stored = json.loads((tmp_path / "result.json").read_text())
    tasks = list(config_of(shop).tasks)
    assert list(stored["reachable"]) == tasks
    auc = stored["reachable"]["click"]["auc"]
    low, high = auc["constant"]["value"], auc["oracle"]["value"]
    model = stored["tasks"]["click"]["metrics"]["auc"]["value"]
    assert low == 0.5
    assert 0.6 < high < 1.0
    assert auc["reached"]["value"] == pytest.approx((model - low) / (high - low))
    assert f"{high:.4f}" in out


def test_the_funnel_and_left_out_rows_count_alike(shop: Path) -> None:
    """A condition of the config takes rows from all three."""
    overrides = ['tasks.churn.only_where="click == 1"']
    config = load_config(
        shop / "data" / "train.yaml", [f'data.root="{shop / "data"}"', *SMALL, *overrides]
    )
    truth = Truth.open(shop / "data")
    test, scores = scores_of(
        config,
        lambda name, linear, labels: (
            truth.targets[name].predict(linear[name])
            if config.tasks[name].kind != "retrieval"
            else np.ones(len(labels[name]))
        ),
    )
    labels = scores.labels | {
        "churn": np.where(scores.labels["click"] == 1, scores.labels["churn"], np.nan)
    }
    references = reachable(config, test, replace(scores, labels=labels))
    every = reachable(config, test, scores)
    assert references["oracle"]["churn"] != every["oracle"]["churn"]
    assert references["oracle"]["click"] == every["oracle"]["click"]
    mine = labels["churn"]
    rows = pl.concat(list(test.frames(["row_id"])))["row_id"].to_numpy()
    linear = truth.linear(rows, ["churn"])["churn"]
    seen = ~np.isnan(mine)
    expected = evaluate_task(
        "binary", mine[seen], truth.targets["churn"].predict(linear[seen]), np.ones(seen.sum())
    )
    assert references["oracle"]["churn"] == expected


def test_rows_without_a_truth(shop: Path, tmp_path: Path) -> None:
    pl.read_parquet(shop / "data" / "rows").write_parquet(tmp_path / "rows.parquet")
    numbers = evaluate(shop / "run", input=str(tmp_path / "rows.parquet")).numbers
    assert numbers["reachable"] == {}
    assert numbers["rows"] == 3000
    assert to_json({}) == {}


def test_all_rows_of_the_folder_as_input(shop: Path) -> None:
    numbers = evaluate(shop / "run", input=str(shop / "data" / "rows")).numbers
    assert numbers["rows"] == 3000
    known = Truth.open(shop / "data").content["tasks"]
    for task, metric in (("click", "auc"), ("segment", "accuracy"), ("share", "r2")):
        stated = known[task]["oracle"][metric]
        value = numbers["reachable"][task][metric]["oracle"]["value"]
        assert abs(value - stated) < 4.5 * 0.5 / np.sqrt(100)  # 100 and more of the rarer class


def test_numbers_of_rows_may_be_text() -> None:
    """As a CSV file has them."""
    for values in ([7, 2, None], ["7", "2", "x"]):
        assert row_ids(pl.DataFrame({"row_id": values})).tolist() == [7, 2, -1]


def test_a_damaged_truth_is_one_line(shop: Path, tmp_path: Path) -> None:
    shutil.copytree(shop / "data" / "rows", tmp_path / "rows")
    (tmp_path / "truth.json").write_text("{")
    with pytest.raises(UserError, match="not the truth of a data set"):
        evaluate(shop / "run", input=str(tmp_path / "rows"))


def test_what_is_undefined_has_no_share(shop: Path) -> None:
    config, truth = config_of(shop), Truth.open(shop / "data")
    test, scores = scores_of(
        config, lambda name, linear, labels: np.ones(len(labels[name]))
        if config.tasks[name].kind != "multiclass"
        else np.full((len(labels[name]), len(truth.targets[name].constant())), 0.25),
    )  # fmt: skip
    metrics = scores.metrics | {"click": {"auc": Undefined("one class"), "log_loss": 0.4}}
    references = reachable(config, test, replace(scores, metrics=metrics))
    assert list(references["reached"]["click"]) == ["log_loss"]
    written = to_json(references)["click"]
    assert list(written) == ["log_loss"]
    assert written["log_loss"].keys() == {"constant", "oracle", "reached"}
