from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import recsys_mtl.ablation.unit as unit_module
from recsys_mtl.ablation.ablate import by_seed
from recsys_mtl.ablation.plan import Ablation, arm_config, base_config
from recsys_mtl.ablation.unit import GENERATED, ArmUnit, arm_trainer
from recsys_mtl.config import config_hash
from recsys_mtl.data.batch import Batch
from recsys_mtl.errors import UserError
from recsys_mtl.runs.evaluate import evaluate
from recsys_mtl.runs.train import train
from recsys_mtl.study.run import train_batch
from recsys_mtl.study.unit import UnitResult, missing
from recsys_mtl.training.skips import diverged
from recsys_mtl.wiring import trainer
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.trainer import Fitted
from tests import encoded

pytestmark = pytest.mark.slow  # trainings

COST = ("train_seconds", "seconds", "peak_memory_mb")
Results = tuple[Path, list[UnitResult]]
ARMS = ("off", "published", "single_task")


def run_seed(ablation: Ablation, seed: int, out: Path) -> Iterator[UnitResult]:
    """Train the arms of a seed that have no result yet."""
    units = missing([ArmUnit(name, seed) for name in ablation.names], out)
    (batch,) = by_seed(ablation.names, units)
    for _, result in train_batch(partial(arm_trainer, ablation), batch, out, threads=1):
        yield result


def numbers(unit: UnitResult) -> dict[str, Any]:
    """A result without its cost."""
    return {key: value for key, value in unit.items() if key not in COST}


@pytest.fixture(scope="module")
def seed_3(tiny: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Results:
    """One seed of generated rows under three arms, and `off` once more by another name."""
    out = tmp_path_factory.mktemp("seed_3")
    ablation = Ablation.model_validate(tiny | {"ready": [*ARMS], "arms": {"again": {}}})
    units = run_seed(ablation, 3, out)  # the arms take turns in being the first
    return out, sorted(units, key=lambda unit: ablation.names.index(unit["arm"]))


def test_every_arm_leaves_a_file_of_strict_json(seed_3: Results) -> None:
    out, units = seed_3

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert [(unit["arm"], unit["seed"]) for unit in units] == [(a, 3) for a in (*ARMS, "again")]
    for unit in units:
        stored = json.loads(ArmUnit(unit["arm"], 3).path(out).read_text(), parse_constant=refuse)
        assert stored == unit
    files = {path for path in out.rglob("*") if path.is_file()}
    assert files == {ArmUnit(unit["arm"], 3).path(out) for unit in units}


def test_generated_rows_are_gone_after_the_seed(seed_3: Results) -> None:
    assert not (seed_3[0] / GENERATED / "seed-3").exists()


def test_the_same_arm_twice_is_the_same_to_the_last_bit(
    seed_3: Results,
) -> None:
    """So a pair has the same initial weights, and the same rows in the same order."""
    by_arm = {unit["arm"]: numbers(unit) for unit in seed_3[1]}
    again = by_arm["again"] | {"arm": "off"}
    assert again == by_arm["off"]
    assert by_arm["published"]["scores"] != by_arm["off"]["scores"]


def test_a_unit_has_rows_relations_and_limits(seed_3: Results) -> None:
    unit = seed_3[1][1]
    tasks = ["click", "conversion", "churn", "segment", "value"]
    assert [*unit["kinds"]] == tasks
    assert unit["kinds"]["segment"] == "multiclass"
    assert unit["labelled"]["click"] > 1500
    assert 0 < unit["labelled"]["conversion"] < 0.3 * unit["labelled"]["click"]  # after a click
    assert unit["relation"]["click"]["conversion"] == pytest.approx(0.5)
    assert unit["relation"]["churn"]["value"] == pytest.approx(-0.3)
    assert [*unit["true_scores"]] == [*unit["reachable"]] == tasks
    for task in tasks:
        low, high = unit["reachable"][task]
        assert low < high
        assert unit["true_scores"][task] < high
    assert (unit["epochs"], unit["measure"]) == (2, "gradient_cosine")
    assert len(unit["transfer"]) == 2
    assert len(unit["transfer"][0]["affinity"][0]) == 5


def test_single_task_trains_a_network_a_task(seed_3: Results) -> None:
    off, _, alone, _ = seed_3[1]
    assert alone["epochs"] == off["epochs"]  # of each network
    assert alone["scores"].keys() == alone["true_scores"].keys() == off["scores"].keys()
    assert alone["scores"] != off["scores"]
    assert alone["transfer"] == []
    assert alone["labelled"] == off["labelled"]
    assert None not in alone["losses"].values()


def test_scores_are_those_of_evaluate(toy: Any, make: Any) -> None:
    """The same run by `train` and `evaluate`, on labelled rows."""
    overrides = ["data.weight=null", 'data.ignore=["customer", "day", "importance"]']
    path = toy.folder / "base.yaml"
    document = toy.document()
    del document["data"]["weight"]
    document["data"]["ignore"].append("importance")
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    ablation = make(synthetic=None, base=str(path), change={}, ready=["off", "count"])
    units = {unit["arm"]: unit for unit in run_seed(ablation, 5, toy.folder / "out")}
    off = units["off"]
    trained = train(toy.config(*overrides, "seed=5"), toy.run)
    evaluated = evaluate(toy.run).numbers
    assert off["config_hash"] == trained["config_hash"]
    for task, metric in (
        ("click", "auc"), ("buy", "auc"), ("spend", "rank_correlation"), ("item", "mrr"),
    ):  # fmt: skip
        want = evaluated["tasks"][task]["metrics"][metric]["value"]
        assert off["scores"][task] == pytest.approx(want, rel=1e-12), task
    assert off["losses"].keys() == off["scores"].keys()
    assert (off["true_scores"], off["reachable"], off["relation"]) == ({}, {}, {})


@pytest.fixture
def toys(toy: Any, make: Any) -> Callable[..., Any]:
    """An ablation of the toy data."""

    def toys(**keys: Any) -> Any:
        base = {"synthetic": None, "base": str(toy.folder / "toy.yaml")}
        return make(**(base | {"change": {"training.epochs": 1}} | keys))

    return toys


def test_a_pair_starts_alike_and_receives_the_same_rows(
    toys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[dict[str, torch.Tensor], torch.Tensor]] = []
    fit = trainer.fit_network

    def spy(config: Any, prepared: Any) -> Fitted:
        torch.manual_seed(config.seed)
        weights = build_network(config, prepared.preprocessor.spec).state_dict()
        order = torch.cat([encoded.numbers(batch) for batch in prepared.loaders["train"].epoch(0)])
        seen.append((weights, order))
        return fit(config, prepared)

    monkeypatch.setattr(trainer, "fit_network", spy)
    ablation = toys(ready=["off", "published", "borrow", "count", "noise_floor"])
    assert len(list(run_seed(ablation, 5, tmp_path / "out"))) == 5  # off is the first
    (first, order), *others = seen
    for index, (weights, rows) in enumerate(others):
        assert all(torch.equal(first[name], weights[name]) for name in first)
        assert torch.equal(order, rows) == (index < 3)  # all but the noise floor


def test_only_what_is_missing_is_trained(toys: Any, tmp_path: Path) -> None:
    ablation = toys(ready=["off", "published"])
    (published, off) = run_seed(ablation, 1, tmp_path)  # seed 1 begins with the second
    assert (published["arm"], off["arm"]) == ("published", "off")
    ArmUnit("published", 1).path(tmp_path).unlink()
    (again,) = run_seed(ablation, 1, tmp_path)
    assert numbers(again) == numbers(published)
    assert json.loads(ArmUnit("off", 1).path(tmp_path).read_text()) == off


def test_an_interrupted_unit_leaves_nothing(
    toys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, calls = trainer.fit_network, []

    def interrupted(config: Any, prepared: Any) -> Fitted:
        calls.append(config.adatt.mechanism)
        fitted = fit(config, prepared)
        if len(calls) < 2:
            return fitted
        return replace(fitted, result=replace(fitted.result, stopped="interrupted"))

    monkeypatch.setattr(trainer, "fit_network", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(run_seed(toys(), 6, tmp_path))
    assert calls == ["off", "loss"]
    kept = [path for path in (tmp_path / "units").rglob("*") if path.is_file()]
    assert kept == [ArmUnit("off", 6).path(tmp_path)]


def test_arms_that_need_the_data_are_checked_before_the_first_is_trained(
    toys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "fit_network", None)
    ablation = toys(ready=["off", "borrow_planted"])
    with pytest.raises(UserError, match="needs rows whose relations are known"):
        list(run_seed(ablation, 6, tmp_path))
    assert not (tmp_path / "units").exists()


def test_an_arm_that_changes_the_encoding_gets_its_own_rows(
    toys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = trainer.fit_network
    first: dict[str, Batch] = {}

    def spy(config: Any, prepared: Any) -> Fitted:
        name = f"{config.tasks['spend'].transform} {config.features['age'].transform}"
        first[name] = next(iter(prepared.loaders["valid"].epoch(0)))
        return fit(config, prepared)

    monkeypatch.setattr(trainer, "fit_network", spy)
    arms = {
        "raw": {"tasks.spend.transform": "none"},
        "bins": {"features.age": {"kind": "numeric", "transform": "piecewise"}},
    }
    units = list(run_seed(toys(ready=["off"], arms=arms), 6, tmp_path))
    assert [unit["arm"] for unit in units] == ["off", "raw", "bins"]
    usual, raw, bins = first.values()
    assert not torch.equal(usual.labels[:, 3].nan_to_num(), raw.labels[:, 3].nan_to_num())
    assert torch.equal(usual.labels[:, :3].nan_to_num(), raw.labels[:, :3].nan_to_num())
    assert not torch.equal(encoded.numbers(bins), encoded.numbers(usual))


def test_threads_are_given_where_the_config_names_none(toys: Any, tmp_path: Path) -> None:
    ablation = toys(change={"training.epochs": 1, "training.threads": None}, ready=["off", "count"])
    off, _ = run_seed(ablation, 6, tmp_path)
    config = base_config(ablation, 6)
    named = config.model_copy(
        update={"training": config.training.model_copy(update={"threads": 1})}
    )
    known: Any = None
    assert off["config_hash"] == config_hash(arm_config(ablation, "off", named, known))


def test_a_seed_that_is_undefined_somewhere_is_still_a_unit(
    toys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_module, "score", lambda kind, scores, task: float("nan"))
    off, _ = run_seed(toys(), 6, tmp_path)
    assert set(off["scores"].values()) == {None}


def test_the_first_unit_is_there_before_the_second_begins(toys: Any, tmp_path: Path) -> None:
    results: Iterator[UnitResult] = run_seed(toys(), 6, tmp_path)
    next(results)
    assert ArmUnit("off", 6).path(tmp_path).exists()
    assert not ArmUnit("published", 6).path(tmp_path).exists()


def test_a_training_that_fails_names_its_arm_and_seed(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise diverged("x")

    monkeypatch.setattr(unit_module, "train_arm", fails)
    with pytest.raises(UserError, match=r"^arm off, seed 3: training: training diverged: x"):
        next(run_seed(Ablation.model_validate(tiny | {"ready": ["off"]}), 3, tmp_path))
