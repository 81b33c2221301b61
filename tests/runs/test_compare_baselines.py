from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from recsys_mtl.boosting import default_name
from recsys_mtl.config.check import contradictions
from recsys_mtl.data.prepare import prepare
from recsys_mtl.metrics import Metrics, Undefined
from recsys_mtl.runs import compare_baselines as compare
from recsys_mtl.runs.compare_baselines import as_shared_bottom, baselines
from recsys_mtl.runs.one_task import one_task
from recsys_mtl.wiring import trainer
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.trainer import Fitted, fit_network

BOOSTING = default_name()
NAMES = ["constant", BOOSTING, "single_task", "shared_bottom"]
ByBaseline = dict[str, dict[str, Metrics]]


@pytest.fixture(scope="module")
def by_baseline(shared_toy: Any, one_thread: None) -> ByBaseline:
    config = shared_toy.config("training.epochs=1")
    return dict(baselines(config, prepare(config)))


@pytest.mark.slow  # trainings
def test_every_baseline_has_every_task(
    by_baseline: ByBaseline, trained: tuple[Any, dict[str, Any]]
) -> None:
    assert list(by_baseline) == NAMES
    for name, by_task in by_baseline.items():
        assert list(by_task) == ["click", "buy", "band", "spend", "item"]
        for task, metrics in by_task.items():
            assert list(metrics) == list(trained[1]["tasks"][task]["metrics"]), (name, task)


def test_only_boosting_cannot_rank_items(by_baseline: ByBaseline) -> None:
    for name, by_task in by_baseline.items():
        for task, metrics in by_task.items():
            for value in metrics.values():
                if name == BOOSTING and task == "item":
                    assert isinstance(value, Undefined)
                    assert "does not rank" in value.reason
                elif not isinstance(value, Undefined):
                    assert math.isfinite(value)


def test_the_constant_learns_nothing_and_boosting_something(by_baseline: ByBaseline) -> None:
    constant, boosted = by_baseline["constant"], by_baseline[BOOSTING]
    assert constant["click"]["auc"] == 0.5
    assert isinstance(constant["spend"]["rank_correlation"], Undefined)
    assert constant["spend"]["r2"] == pytest.approx(0, abs=0.1)
    assert boosted["click"]["auc"] > 0.65
    assert boosted["spend"]["r2"] > 0.7


def test_they_use_the_rows_of_the_run(
    shared_toy: Any, one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All test rows; of the training rows as many as the run fits on."""
    config = shared_toy.config("data.fit_rows=100", "data.loading=stream")
    seen: list[int] = []
    usual = compare.boost

    def watched(name: str, train: Any, valid: Any, test: Any, *args: Any, **options: Any) -> Any:
        seen.extend([train.num_rows, valid.num_rows, test.num_rows])
        return usual(name, train, valid, test, *args, **options)

    monkeypatch.setattr(compare, "boost", watched)
    prepared = prepare(config)
    started = baselines(config, prepared)
    assert [next(started)[0], next(started)[0]] == NAMES[:2]
    started.close()
    assert 100 <= seen[0] < prepared.rows["train"]
    assert seen[2] == prepared.rows["test"]


def test_an_interrupt_in_a_network_ends_all(
    shared_toy: Any, one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any) -> Fitted:
        fitted = fit_network(*args)
        return replace(fitted, result=replace(fitted.result, stopped="interrupted"))

    monkeypatch.setattr(trainer, "fit_network", interrupted)
    config = shared_toy.config("training.epochs=1")
    finished: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        finished.extend(name for name, _ in baselines(config, prepare(config)))
    assert finished == NAMES[:2]


def test_a_shared_bottom_is_without_adatt(shared_toy: Any) -> None:
    config = shared_toy.config("adatt.mechanism=borrow", "adatt.strength=0.7")
    bottom = as_shared_bottom(config)
    assert bottom.adatt == type(config.adatt)()
    assert contradictions(bottom) == []
    assert as_shared_bottom(shared_toy.config()) == bottom


def test_a_shared_bottom_is_its_own_baseline(shared_toy: Any) -> None:
    own = shared_toy.config(
        "model.architecture=shared_bottom",
        "model.shared_experts=[{kind: mlp, hidden: [9]}]",
        "model.task_experts=[{kind: mlp}]",  # the default
    )
    assert as_shared_bottom(own).model_dump() == own.model_dump()


@pytest.mark.parametrize(
    "architecture",
    [
        *("ple", "mmoe", "shared_bottom", "single_task", "aitm", "pepnet", "home", "stem"),
        "{name: aitm, chain: [click, buy], calibrator: 0.6}",
    ],
)
def test_a_task_alone_has_a_network_of_any_architecture(shared_toy: Any, architecture: str) -> None:
    experts = "model.task_experts=[{kind: mlp}]", "model.shared_experts=[{kind: mlp}]"
    config = shared_toy.config(f"model.architecture={architecture}", *experts)
    alone, prepared = one_task(config, prepare(config), "buy")
    assert contradictions(alone) == []
    network = build_network(alone, prepared.preprocessor.spec)
    batch = next(iter(prepared.loaders["valid"].epoch(0)))
    assert [*network(batch).logits] == ["buy"]
