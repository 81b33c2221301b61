"""Search spaces: what may be written, what the config allows, and the base's own values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys_mtl.errors import UserError
from recsys_mtl.tuning import load_tuning
from recsys_mtl.tuning.objective import objectives
from recsys_mtl.tuning.plan import Tuning
from recsys_mtl.tuning.ready import READY, ready_space
from recsys_mtl.tuning.space import Choices, check_space, decoded, encoded
from tests.toy import Toy

FLOAT = {"kind": "float", "low": 0.0, "high": 0.5}
EVEN = {"kind": "int", "low": 2, "high": 9, "step": 2}


def plan(tmp_path: Path, **keys: Any) -> Tuning:
    path = tmp_path / "tuning.yaml"
    path.write_text(yaml.safe_dump({"name": "t", "base": "toy.yaml"} | keys))
    return load_tuning(path)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"space": {"a.b": FLOAT | {"high": 0.0}}}, r"space\.a\.b: an empty range; .*found 0 to 0"),
        ({"space": {"a.b": FLOAT | {"log": True}}}, r"low: log needs positive values"),
        ({"space": {"a.b": FLOAT | {"step": 2.0}}}, r"step: a step over the whole range"),
        (
            {"space": {"a.b": {"kind": "int", "low": 1, "high": 9, "log": True, "step": 2}}},
            "log and step exclude each other",
        ),
        (
            {"space": {"a.b": FLOAT | {"low": 0.1, "log": True, "step": 1.0}}},
            "log and step exclude",
        ),
        ({"space": {"seed": {"kind": "int", "low": 0, "high": 3}}}, r"space\.seed: not a key to"),
        ({"space": {"name": {"kind": "choice", "choices": ["a", "b"]}}}, "not a key to tune"),
        (
            {"space": {"tracking.uri": {"kind": "choice", "choices": ["a", "b"]}}},
            "not a key to tune",
        ),
        ({"space": {"a.b": {"kind": "choice", "choices": [1]}}}, "nothing to choose"),
        ({"space": {"a.b": {"kind": "choice", "choices": [1, 2, 1]}}}, "same value twice"),
        ({"space": {"a.b": {"kind": "choice"}}}, "choices: missing key; expected a list of"),
        ({"space": {"a.b": {"kind": "normal", "low": 1}}}, "unknown choice; .*float, int, cho"),
        ({"space": {"a.b": FLOAT | {"mean": 1}}}, "mean: unknown key"),
        (
            {"space": {"combiner": {"kind": "choice", "choices": ["sum", {"name": "cagt"}]}}},
            "replaces a whole section",
        ),
        ({"space": {"a.b": FLOAT}, "change": {"a.b": 1}}, "the same key is in change"),
        ({"ready": ["rates", "rats"]}, r"ready\.1: no such ready-made space; .*did you mean 'rate"),
        ({"metric": ["a/auc"]}, "metric: a list of different metrics"),
        ({"metrics": "loss"}, "metrics: unknown key -> did you mean 'metric'"),
        ({"trials": 0}, "trials"),
    ],
)
def test_mistakes_in_the_file(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(tmp_path, **keys)


@pytest.mark.parametrize(
    ("space", "metric", "message"),
    [
        ({"model.dropuot": FLOAT}, "loss", r"space\.model\.dropuot: unknown key -> did you mean"),
        (
            {"model.dropout": FLOAT | {"high": 2.0}},
            "loss",
            r"space\.model\.dropout: value out of range; .*less than 1",
        ),
        ({"data.split.valid": FLOAT | {"low": 0.1}}, "loss", "changes what trials are compared on"),
        (
            {"tasks.click.loss": {"kind": "choice", "choices": ["bce", "focal"]}},
            "loss",
            "losses of different kinds cannot be compared",
        ),
        (
            {"training.recipe": {"kind": "choice", "choices": ["none", "table"]}},
            "loss",
            "the recipe is decided before the search",
        ),
    ],
)
def test_spaces_that_do_not_fit_the_base(
    tmp_path: Path, shared_toy: Toy, space: dict[str, Any], metric: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check_space(shared_toy.config(), plan(tmp_path, space=space).space, [metric])


def test_losses_may_differ_where_a_metric_is_compared(tmp_path: Path, shared_toy: Toy) -> None:
    losses = {"kind": "choice", "choices": ["bce", "focal"]}
    space = plan(
        tmp_path, space={"tasks.click.loss": losses, "tasks.buy.weight": FLOAT | {"low": 0.1}}
    )
    check_space(shared_toy.config(), space.space, ["click/auc"])


def test_a_key_without_a_dot(shared_toy: Toy) -> None:
    whole = Choices(kind="choice", choices=[{"name": "sum"}])
    check_space(shared_toy.config(), {"combiner": whole}, ["loss"])


@pytest.mark.slow  # reads the config a hundred times
def test_ready_spaces_fit_and_hold_the_base(shared_toy: Toy) -> None:
    base = shared_toy.config()
    space = ready_space(list(READY), base)
    check_space(base, space, ["loss"])
    own = encoded(base, space)
    assert own is not None
    values = decoded(space, own)
    assert values.keys() == space.keys()
    assert values["training.optimizer.learning_rate"] == 0.001
    assert values["model.shared_experts.0.hidden"] == [8]


def test_choices_that_the_config_refuses_are_left_out(shared_toy: Toy) -> None:
    base = shared_toy.config("tasks.item.dim=4", "model.members=4")
    assert "model.members" in ready_space(["members"], base)


@pytest.mark.parametrize(
    ("space", "own"),
    [
        ({"model.dropout": FLOAT | {"low": 0.2}}, None),
        ({"model.dropout": FLOAT | {"step": 0.25}}, None),
        ({"model.dropout": FLOAT | {"step": 0.05}}, {"model.dropout": 0.1}),
        ({"training.epochs": {"kind": "int", "low": 1, "high": 9, "step": 2}}, None),
        (
            {"training.epochs": {"kind": "int", "low": 2, "high": 9, "step": 2}},
            {"training.epochs": 2},
        ),
        (
            {"model.tower.hidden": {"kind": "choice", "choices": [[], [5]]}},
            {"model.tower.hidden": "[5]"},
        ),
        ({"model.tower.hidden": {"kind": "choice", "choices": [[], [6]]}}, None),
        ({"features.*.dim": {"kind": "int", "low": 2, "high": 9}}, None),
    ],
)
def test_the_base_s_own_values(tmp_path: Path, shared_toy: Toy, space: Any, own: Any) -> None:
    assert encoded(shared_toy.config(), plan(tmp_path, space=space).space) == own


@pytest.mark.parametrize(
    ("metric", "names", "larger"),
    [
        (None, ["loss"], [False]),
        ("click/auc", ["click/auc"], [True]),
        (["loss", "spend/rmse"], ["loss", "spend/rmse"], [False, False]),
    ],
)
def test_metrics(shared_toy: Toy, metric: Any, names: list[str], larger: list[bool]) -> None:
    found = objectives(metric, shared_toy.config())
    assert [one.name for one in found] == names
    assert [one.larger_is_better for one in found] == larger


def test_per_task_is_every_main_metric(shared_toy: Toy) -> None:
    assert len(objectives("per_task", shared_toy.config())) == 5


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("click/acu", 'metric: no metric of a binary task; found "acu" -> did you mean'),
        ("clck/auc", 'metric: unknown task; found "clck" -> did you mean'),
        ("auc", "metric: unknown metric; expected loss or TASK/METRIC"),
    ],
)
def test_unknown_metrics(shared_toy: Toy, metric: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        objectives(metric, shared_toy.config())
