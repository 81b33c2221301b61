from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from recsys_mtl.cli.main import main
from recsys_mtl.errors import UserError
from recsys_mtl.runs import paired as module
from recsys_mtl.runs.compare import ahead, best, compare
from recsys_mtl.runs.paired import Paired
from recsys_mtl.runs.train import train

Copy = Callable[..., Path]


@pytest.fixture
def copied(trained: Any, tmp_path: Path) -> Copy:
    """Copies of the shared training, their results and configs changed."""

    def copy(name: str, config: dict[str, str] | None = None, **changes: Any) -> Path:
        folder = Path(shutil.copytree(trained[0].run, tmp_path / name))
        result = json.loads((folder / "result.json").read_text())
        for key, value in changes.items():
            result[key] = result[key] | value if isinstance(value, dict) else value
        (folder / "result.json").write_text(json.dumps(result))
        text = (folder / "config.yaml").read_text()
        for old, new in (config or {}).items():
            assert old in text
            text = text.replace(old, new)
        (folder / "config.yaml").write_text(text)
        return folder

    return copy


def better(trained: Any, auc: float) -> dict[str, Any]:
    click = trained[1]["tasks"]["click"]
    entry = {"value": auc, "low": auc - 0.1, "high": auc + 0.1}
    return {"click": click | {"metrics": click["metrics"] | {"auc": entry}}}


def test_runs_in_one_table(
    trained: Any, copied: Copy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = copied("first", tasks=better(trained, 0.625), peak_memory_mb=1234.0)
    second = copied("second", {"epochs: 2": "epochs: 9"}, tasks=better(trained, 0.875))
    out = ["--out", str(tmp_path / "out")]
    assert main(["compare", str(first), str(second), "--no-predict", *out]) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["same_test_rows"]
    assert result["config"] == {"training.epochs": [2, 9]}
    assert result["metrics"]["click/auc"] == [0.625, 0.875]
    text = (tmp_path / "out" / "compare.md").read_text()
    assert r"| click | auc | 0.6250 | 0.8750\* |" in text
    assert "| training.epochs | 2 | 9 |" in text
    assert "| peak memory, MiB | 1,234 |" in text
    assert (tmp_path / "out" / "compare.html").is_file()
    assert result["job"] == "compare"
    assert [entry["label"] for entry in result["runs"]] == ["first", "second"]
    assert result["ahead"] == {"click/auc": "second"}
    assert "overlaps" in result["rule"]
    assert result["differences"] == {}
    assert "0.8750*" in capsys.readouterr().out


@pytest.mark.slow  # a second training
def test_runs_on_the_same_rows_are_compared_in_pairs(
    trained: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = trained[0]
    longer = tmp_path / "longer"
    lessons = ("training.epochs=20", "training.optimizer.learning_rate=0.02")
    train(toy.config("seed=0", *lessons), longer)
    copy = shutil.copytree(toy.run, tmp_path / "copy")
    numbers = compare([str(toy.run), str(longer), str(copy)]).numbers
    assert numbers["same_test_rows"]
    assert "differences" in numbers["rule"]
    paired = numbers["differences"]
    assert set(paired) == {
        "click/auc",
        "buy/auc",
        "band/mcfadden_r2",
        "spend/rank_correlation",
        "item/mrr",
    }
    for key, (other, same) in paired.items():
        assert same == {"value": 0.0, "low": 0.0, "high": 0.0}
        values = numbers["metrics"][key]
        assert other["value"] == pytest.approx(values[1] - values[0])
        assert other["low"] <= other["value"] <= other["high"]
    assert set(numbers["ahead"].values()) == {"longer"}
    assert compare([str(toy.run), str(copy)]).numbers["ahead"] == {}
    numbers = compare([str(toy.run), str(longer)]).numbers
    assert set(numbers["ahead"]) == {
        k for k, (d,) in numbers["differences"].items() if d["low"] > 0 or d["high"] < 0
    }
    assert numbers["ahead"]["spend/rank_correlation"] == "longer"
    shutil.rmtree(longer / "model")
    numbers = compare([str(toy.run), str(longer)]).numbers
    assert "overlaps" in numbers["rule"]
    assert "no model there" in numbers["rule"]


def test_ahead_is_what_the_pairs_decide() -> None:
    noise = np.linspace(-0.3, 0.3, 101)

    def pair(name: str, *gains: float) -> Paired:
        values = np.array([0.5 + gain for gain in gains])
        own = np.linspace(-0.01, 0.01, 101)[:, None] * np.arange(len(gains))
        return Paired(name, values, values + noise[:, None] + own)

    assert pair("auc", 0.0, 0.05).ahead() == 1  # each on its own varies by 0.3
    assert pair("auc", 0.05, 0.0, 0.001).ahead() == 0
    assert pair("auc", 0.05, 0.0, 0.049).ahead() is None
    assert pair("rmse", 0.0, 0.05).ahead() == 0
    assert pair("auc", 0.0, 0.0).ahead() is None
    assert pair("auc", np.nan, 0.0).ahead() is None


def test_a_star_is_at_the_best_of_all_rows_and_of_the_drawn_ones(
    trained: Any, copied: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [str(copied(name, tasks=better(trained, auc))) for name, auc in (("a", 0.6), ("b", 0.7))]
    noise = np.linspace(-0.01, 0.01, 101)[:, None]
    for gain, ahead_in in ((0.05, {"click/auc": "b"}), (-0.05, {})):
        values = np.array([0.6, 0.6 + gain])
        pair = Paired("auc", values, values + noise, 50_000)
        monkeypatch.setattr(module, "paired", lambda *_, pair=pair: {("click", "auc"): pair})
        numbers = compare(runs).numbers
        assert numbers["ahead"] == ahead_in
        assert "on 50,000 drawn test rows" in numbers["rule"]


@pytest.mark.parametrize(
    ("config", "changes"),
    [
        ({}, {"data": {"fingerprint": "other"}}),
        ({}, {"seed": 5}),
        ({"test: 0.25": "test: 0.5"}, {}),
    ],
)
def test_other_test_rows_are_reported(
    copied: Copy, config: dict[str, str], changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    result = compare([str(copied("first")), str(copied("second", config, **changes))]).numbers
    assert not result["same_test_rows"]
    (record,) = caplog.records
    assert record.message.endswith("their metrics cannot be compared")


def test_a_seed_does_not_move_a_time_split(copied: Copy) -> None:
    split = {"kind: fraction": "kind: time"}
    result = compare(
        [str(copied("first", split)), str(copied("second", split, seed=5))], predict=False
    ).numbers
    assert result["same_test_rows"]


def test_equal_names_are_numbered(copied: Copy) -> None:
    result = compare(
        [str(copied("a/run")), str(copied("b/run")), str(copied("c"))], predict=False
    ).numbers
    assert [entry["label"] for entry in result["runs"]] == ["run (1)", "run (2)", "c"]


def test_a_task_that_one_run_lacks(trained: Any, copied: Copy) -> None:
    alone = copied("alone")
    result = json.loads((alone / "result.json").read_text())
    del result["tasks"]["item"]
    (alone / "result.json").write_text(json.dumps(result))
    row = compare([str(alone), str(copied("all"))], predict=False).numbers["metrics"]["item/mrr"]
    assert row == [None, trained[1]["tasks"]["item"]["metrics"]["mrr"]["value"]]


@pytest.mark.slow  # a database of its own
def test_a_run_of_mlflow_next_to_a_folder(copied: Copy, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri)
    artifacts = (tmp_path / "mlartifacts").as_uri()
    experiment = client.create_experiment("e", artifact_location=artifacts)
    run_id = client.create_run(experiment, run_name="tracked").info.run_id
    folder = copied("here")
    with pytest.raises(UserError, match=r"no result\.json and config\.yaml"):
        compare([str(folder), run_id], tracking_uri=uri)
    for name in ("result.json", "config.yaml"):
        client.log_artifact(run_id, str(folder / name))
    result = compare([str(folder), run_id], tracking_uri=uri, predict=False).numbers
    assert [entry["label"] for entry in result["runs"]] == ["here", "tracked"]
    assert result["config"] == {}


@pytest.mark.parametrize(
    ("values", "metric", "indices"),
    [
        ([0.5, 0.75, 0.75], "auc", {1, 2}),
        ([0.5, 0.75, None], "rmse", {0}),
        ([0.5, 0.5], "auc", set()),
        ([None, 0.5], "auc", set()),
        ([0.1, 0.2, 0.3], "recall_at_7", {2}),
    ],
)
def test_the_best(values: list[float | None], metric: str, indices: set[int]) -> None:
    assert best(values, metric) == indices


@pytest.mark.parametrize(
    ("second", "third", "index"),
    [((0.1, 0.3), (0.4, 0.6), 0), ((0.1, 0.7), (0.4, 0.6), None), (None, (0.4, 0.6), None)],
)
def test_only_what_is_apart_from_all_others_is_ahead(second, third, index: int | None) -> None:
    assert ahead([0.8, 0.2, 0.5], [(0.65, 0.9), second, third], "auc") == index
    assert ahead([0.5, 0.5, 0.5], [(0.4, 0.6)] * 3, "auc") is None


def test_wrong_uses_are_one_line(copied: Copy, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied("first")
    for arguments, message in (
        ([str(folder)], "two runs or more"),
        ([str(folder), "nowhere"], "no such run"),
        ([str(folder), str(folder.parent)], "no result.json"),
    ):
        assert main(["compare", *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
