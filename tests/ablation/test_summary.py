from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys_mtl.ablation.report import cost_table
from recsys_mtl.ablation.summary import Rule, Summary, summarize
from recsys_mtl.metrics.differences import difference, holm
from recsys_mtl.reports.output import write_result

Unit = Callable[..., dict[str, Any]]
SEEDS = range(6)
RULE = Rule(0.005)


@pytest.fixture
def units(unit: Unit, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Two tasks; arm `a` gains on x, `b` does nothing."""
    results = []
    for seed in SEEDS:
        x, y = rng.normal(0.7, 0.05, 2)
        more, less = rng.normal(0.02, 0.002), rng.normal(0.0, 0.01)
        results += [
            unit("off", seed, {"x": x, "y": y}),
            unit("a", seed, {"x": x + more, "y": y + less}, train_seconds=12.0),
            unit("b", seed, {"x": x, "y": y}, epochs=2),
        ]
    return results


def of(units: list[dict[str, Any]], arm: str, task: str) -> np.ndarray:
    return np.array([unit["scores"][task] for unit in units if unit["arm"] == arm], float)


def test_differences_are_paired_by_seed(units: list[dict[str, Any]]) -> None:
    summary = summarize(units[::-1], ("off", "a", "b"), RULE)
    assert (summary.reference, summary.seeds, summary.against_truth) == ("off", [*SEEDS], False)
    assert summary.kinds == {"x": "binary", "y": "binary"}
    assert summary.labelled == {"x": 102.5, "y": 102.5}
    assert [*summary.arms] == ["off", "a", "b"]
    outcome = summary.arms["a"]
    gains = {task: 100 * (of(units, "a", task) - of(units, "off", task)) for task in "xy"}
    for task in "xy":
        want = difference(gains[task], level=0.995)
        assert outcome.tasks[task].mean == pytest.approx(want.mean)
        assert (outcome.tasks[task].low, outcome.tasks[task].p) == pytest.approx((want.low, want.p))
        assert outcome.tasks[task].pairs == len(SEEDS)
        assert outcome.scores[task] == pytest.approx(of(units, "a", task).mean())


def test_the_overall_difference_is_that_of_the_mean_over_tasks(units: list[dict[str, Any]]) -> None:
    outcome = summarize(units, ("off", "a", "b"), RULE).arms["a"]
    gains = [100 * (of(units, "a", task) - of(units, "off", task)) for task in "xy"]
    want = difference(np.mean(gains, axis=0), level=0.995)
    assert outcome.overall is not None
    assert outcome.overall.mean == pytest.approx(want.mean)
    assert (outcome.overall.low, outcome.overall.high) == pytest.approx((want.low, want.high))
    assert (outcome.overall.wins, outcome.overall.losses) == (want.wins, want.losses)
    relative = [
        np.mean([100 * (of(units, "a", t)[s] / of(units, "off", t)[s] - 1) for t in ("x", "y")])
        for s in SEEDS
    ]
    assert outcome.relative == pytest.approx(np.mean(relative))


def test_holm_is_applied_over_the_tasks_of_an_arm(units: list[dict[str, Any]]) -> None:
    summary = summarize(units, ("off", "a", "b"), RULE)
    for name in ("a", "b"):
        tasks = summary.arms[name].tasks
        assert [d.adjusted for d in tasks.values()] == pytest.approx(
            holm([d.p for d in tasks.values()])
        )
    x = summary.arms["a"].tasks["x"]
    assert x.adjusted == pytest.approx(2 * x.p)  # of two tasks, not of four differences


def test_an_arm_without_effect_is_reported(units: list[dict[str, Any]]) -> None:
    outcome = summarize(units, ("off", "a", "b"), RULE).arms["b"]
    assert outcome.word == "no difference that matters"
    assert outcome.sentence.startswith("no difference that matters: +0.00 points")
    assert outcome.relative == 0.0
    assert outcome.overall is not None
    assert (outcome.overall.wins, outcome.overall.losses, outcome.overall.p) == (0, 0, 1.0)


def test_the_level_of_the_verdict_is_the_ablation_s(unit: Unit) -> None:
    gains = [0.002, 0.005, 0.003, 0.006]
    units = [unit("off", s, {"x": 0.5}) for s in range(4)]
    units += [unit("a", s, {"x": 0.5 + gain}) for s, gain in enumerate(gains)]
    assert summarize(units, ("off", "a"), Rule(0.05)).arms["a"].word == "helps"
    assert summarize(units, ("off", "a"), RULE).arms["a"].word == "not decided"
    assert summarize(units, ("off", "a"), Rule(0.05, 0.5)).arms["a"].word == "not decided"


def test_holm_over_arms_is_an_option(unit: Unit) -> None:
    gains = [0.002, 0.005, 0.003, 0.006]
    arms = ("off", "a", "b", "c")
    units = [unit("off", s, {"x": 0.5}) for s in range(4)]
    units += [unit(a, s, {"x": 0.5 + g}) for a in arms[1:] for s, g in enumerate(gains)]
    plain, together = (summarize(units, arms, Rule(0.05, holm=holm)) for holm in (False, True))
    assert {plain.arms[name].word for name in arms[1:]} == {"helps"}
    assert {together.arms[name].word for name in arms[1:]} == {"not decided"}
    one, other = plain.arms["b"].overall, together.arms["b"].overall
    assert one is not None
    assert other is not None
    assert other.adjusted == pytest.approx(3 * one.p)
    strict = difference(100 * np.array(gains), level=1 - 0.05 / 3)
    assert other.detectable == pytest.approx(strict.detectable)
    assert other.detectable > one.detectable
    assert together.arms["b"].sentence.endswith("100 tries with p corrected over 3 arms")
    assert "p corrected over 3 arms" in cost_table(together).note
    assert "corrected" not in cost_table(plain).note


def test_the_reference_has_no_difference_to_itself(units: list[dict[str, Any]]) -> None:
    outcome = summarize(units, ("off", "a", "b"), RULE).arms["off"]
    assert (outcome.tasks, outcome.overall, outcome.sentence) == ({}, None, "the reference")
    assert np.isnan(outcome.relative)
    assert outcome.train_ratio == 1.0


def test_cost_is_reported_by_epoch(units: list[dict[str, Any]]) -> None:
    arms = summarize(units, ("off", "a", "b"), RULE).arms
    assert arms["a"].train_ratio == 1.5  # 12 s against 8 s for four epochs
    assert arms["b"].train_ratio == 2.0  # two epochs in the same time
    assert (arms["b"].epochs, arms["a"].train_seconds) == (2.0, 12.0)
    assert arms["a"].peak_memory_mb == 100.0


def test_seeds_without_a_partner_are_left_out(units: list[dict[str, Any]]) -> None:
    some = [
        unit
        for unit in units
        if (unit["arm"], unit["seed"]) not in {("off", 0), ("a", 5), ("b", 1), ("b", 2)}
    ]
    summary = summarize(some, ("off", "a", "b"), RULE)
    assert summary.seeds == [1, 2, 3, 4, 5]
    gains = 100 * (of(units, "a", "x") - of(units, "off", "x"))[1:5]
    difference = summary.arms["a"].tasks["x"]
    assert difference.pairs == 4
    assert difference.mean == pytest.approx(gains.mean())
    assert summary.arms["b"].tasks["x"].pairs == 3
    assert summary.arms["a"].scores["x"] == pytest.approx(of(units, "a", "x")[:5].mean())


def test_an_arm_without_any_partner_has_no_result(unit: Unit) -> None:
    units = [unit("off", 0, {"x": 0.5}), unit("a", 1, {"x": 0.6})]
    arms = summarize(units, ("off", "a", "b"), RULE).arms
    assert "b" not in arms  # nothing of it is there
    assert arms["a"].overall is not None
    assert arms["a"].overall.pairs == 0
    assert arms["a"].sentence == "not decided: fewer than two pairs"
    assert np.isnan(arms["a"].relative)
    assert np.isnan(arms["a"].train_ratio)


def test_a_score_that_no_arm_has_counts_nowhere(unit: Unit) -> None:
    units = [unit("off", s, {"x": 0.5, "y": None if s == 0 else 0.6}) for s in range(3)]
    units += [unit("a", s, {"x": 0.51, "y": None if s == 0 else 0.63}) for s in range(3)]
    summary = summarize(units, ("off", "a"), RULE)
    outcome = summary.arms["a"]
    assert (outcome.tasks["x"].pairs, outcome.tasks["y"].pairs) == (3, 2)
    assert outcome.tasks["y"].mean == pytest.approx(3.0)
    assert outcome.overall is not None
    assert outcome.overall.pairs == 3
    assert outcome.overall.mean == pytest.approx((1.0 + 2.0 + 2.0) / 3)  # of x alone for seed 0
    assert summary.arms["off"].scores["y"] == pytest.approx(0.6)
    assert outcome.relative == pytest.approx((2.0 + 3.5 + 3.5) / 3)
    assert outcome.collapsed == summary.arms["off"].collapsed == {}


def test_a_collapse_is_the_worst_score_and_is_named(unit: Unit) -> None:
    """An arm that is better where it has a score at all, on four seeds of ten."""
    seeds = range(10)
    units = [unit("off", s, {"x": 0.7, "y": 0.6}) for s in seeds]
    units += [unit("a", s, {"x": 0.71, "y": 0.61 if s < 4 else None}) for s in seeds]
    units += [unit("b", s, {"x": 0.45, "y": 0.6}) for s in seeds]
    arms = summarize(units, ("off", "a", "b"), RULE).arms
    outcome = arms["a"]
    assert outcome.collapsed == {"y": 6}
    assert outcome.tasks["y"].pairs == 10
    assert outcome.scores["y"] == pytest.approx(0.4 * 0.61 + 0.6 * 0.5)  # a constant's AUC
    assert outcome.word != "helps"
    assert outcome.sentence.endswith("no score, which counts as the worst one: y on 6 seeds")
    assert arms["off"].collapsed == arms["b"].collapsed == {}


def test_an_arm_whose_weights_are_of_the_warm_up_is_named(unit: Unit) -> None:
    units = [unit("off", s, {"x": 0.7}, kept_from_warmup=False) for s in range(3)]
    units += [unit("a", s, {"x": 0.7}, kept_from_warmup=s < 2) for s in range(3)]
    arms = summarize(units, ("off", "a"), RULE).arms
    assert "nothing was transferred on 2 of 3 seeds" in arms["a"].sentence
    assert arms["off"].sentence == "the reference"


def test_the_worst_score_may_be_below_a_constant_s(unit: Unit) -> None:
    units = [unit("off", s, {"x": 0.7}) for s in range(3)]
    units += [unit("a", s, {"x": None if s else 0.4}) for s in range(3)]
    assert summarize(units, ("off", "a"), RULE).arms["a"].scores["x"] == pytest.approx(0.4)


def test_a_collapse_of_the_reference_is_named_too(unit: Unit) -> None:
    units = [unit("off", s, {"x": 0.7 if s else None}) for s in range(3)]
    units += [unit("a", s, {"x": 0.7}) for s in range(3)]
    arms = summarize(units, ("off", "a"), RULE).arms
    assert arms["off"].collapsed == {"x": 1}
    assert arms["off"].sentence.startswith("the reference; no score")


def test_a_task_that_is_never_defined_is_nan_and_no_more(unit: Unit) -> None:
    units = [unit(arm, s, {"x": 0.5, "y": None}) for arm in ("off", "a") for s in range(3)]
    outcome = summarize(units, ("off", "a"), RULE).arms["a"]
    assert outcome.tasks["y"].pairs == 0
    assert np.isnan(outcome.tasks["y"].adjusted)
    assert np.isnan(outcome.scores["y"])
    assert outcome.tasks["x"].adjusted == 1.0
    nothing = [unit(arm, s, {"y": None}) for arm in ("off", "a") for s in range(3)]
    overall = summarize(nothing, ("off", "a"), RULE).arms["a"].overall
    assert overall is not None
    assert (overall.pairs, overall.wins) == (0, 0)


def test_the_truth_is_compared_with_where_it_is_known(unit: Unit) -> None:
    units = [unit("off", s, {"x": 0.5}, true={"x": 0.6}) for s in range(3)]
    units += [unit("a", s, {"x": 0.4}, true={"x": 0.7}) for s in range(3)]
    summary = summarize(units, ("off", "a"), RULE)
    assert summary.against_truth
    outcome = summary.arms["a"]
    assert outcome.scores == {"x": pytest.approx(0.7)}
    assert outcome.reached == {"x": pytest.approx(0.5)}  # 0.7, from 0.5 to 0.9
    assert outcome.tasks["x"].mean == pytest.approx(10.0)
    assert outcome.word == "helps"


def test_labels_are_compared_with_where_the_truth_lacks_a_task(unit: Unit) -> None:
    units = [
        unit(arm, s, {"x": 0.5, "y": 0.5}, true={"x": 0.6}) for arm in ("off", "a") for s in (0, 1)
    ]
    summary = summarize(units, ("off", "a"), RULE)
    assert not summary.against_truth
    assert summary.arms["a"].scores == {"x": 0.5, "y": 0.5}
    assert [*summary.arms["a"].reached] == ["x"]


@pytest.mark.parametrize("everywhere", [True, False])
def test_a_collapse_has_reached_what_its_score_says(unit: Unit, everywhere: bool) -> None:
    """A constant is 0 of the way; also where scores are of the labels, as one task has no truth."""
    units = []
    for seed in range(2):
        for arm, value in (("off", 0.7), ("a", 0.8 if seed else None), ("b", 0.4)):
            scores = {"x": value, "y": 0.6}
            true = scores if everywhere else {"x": value}
            units.append(unit(arm, seed, scores, true=true))
    arms = summarize(units, ("off", "a", "b"), RULE).arms
    for arm in arms.values():
        assert arm.reached["x"] == pytest.approx((arm.scores["x"] - 0.5) / 0.4)
    assert arms["a"].reached["x"] == pytest.approx((0.75 - 0.25) / 2)


def test_what_cannot_be_reached_is_nan(unit: Unit) -> None:
    limits = {"x": [0.5, 0.5], "y": [None, None]}
    true = {"x": 0.5, "y": None}
    units = [
        unit(arm, s, true, true=true, reachable=limits) for arm in ("off", "a") for s in range(2)
    ]
    reached = summarize(units, ("off", "a"), RULE).arms["a"].reached
    assert all(np.isnan(share) for share in reached.values())


NAMES = ("x", "y", "z")
PLANNED = np.array([[1.0, 0.8, -0.5], [0.8, 1.0, 0.1], [-0.5, 0.1, 1.0]])


def related(unit: Unit, arm: str, seed: int, *matrices: np.ndarray, **more: Any) -> dict[str, Any]:
    relation = {
        a: dict(zip(NAMES, row, strict=True))
        for a, row in zip(NAMES, PLANNED.tolist(), strict=True)
    }
    transfer = [{"affinity": [matrix.tolist()], "observations": 1} for matrix in matrices]
    scores = dict.fromkeys(NAMES, 0.5)
    return unit(arm, seed, scores, relation=relation, transfer=transfer, **more)


def test_affinity_is_compared_with_the_plan_epoch_by_epoch(unit: Unit) -> None:
    units = [related(unit, "off", s) for s in range(2)]
    units += [
        related(unit, "a", 0, -PLANNED, PLANNED),
        related(unit, "a", 1, PLANNED, PLANNED, PLANNED / 2),
    ]
    summary = summarize(units, ("off", "a"), RULE)
    assert summary.planned is not None
    np.testing.assert_array_equal(summary.planned, PLANNED)
    assert summary.arms["off"].affinity == []
    assert summary.arms["off"].matrix is None
    outcome = summary.arms["a"]
    assert [one.spearman for one in outcome.affinity] == pytest.approx([0.0, 1.0])
    assert [one.recall for one in outcome.affinity] == [0.5, 1.0]
    assert outcome.matrix is not None
    np.testing.assert_allclose(outcome.matrix, 0.75 * PLANNED)  # after each seed's last epoch


def test_measures_without_a_sign_are_compared_by_size(unit: Unit) -> None:
    kinds = {"x": "binary", "y": "binary", "z": "multiclass"}
    sizes = np.abs(PLANNED)
    units = [related(unit, "off", s, kinds=kinds) for s in range(2)]
    units += [
        related(unit, "a", s, sizes, kinds=kinds, measure="logit_correlation") for s in range(2)
    ]
    units += [related(unit, "b", s, sizes, kinds=kinds) for s in range(2)]
    arms = summarize(units, ("off", "a", "b"), RULE).arms
    assert arms["a"].affinity[0].spearman == pytest.approx(1.0)
    assert arms["b"].affinity[0].spearman == pytest.approx(0.5)


def test_without_a_plan_there_is_no_agreement(unit: Unit) -> None:
    units = [
        unit(
            arm,
            s,
            {"x": 0.5, "y": 0.5},
            transfer=[{"affinity": [np.eye(2).tolist()], "observations": 1}],
        )
        for arm in ("off", "a")
        for s in range(2)
    ]
    summary = summarize(units, ("off", "a"), RULE)
    assert summary.planned is None
    assert summary.arms["a"].affinity == []
    assert summary.arms["a"].matrix is not None


def test_a_summary_is_strict_json(unit: Unit, tmp_path: Path) -> None:
    units = [related(unit, "off", s) for s in range(2)]
    units += [related(unit, "a", s, PLANNED) for s in range(2)]
    units += [unit("b", 9, dict.fromkeys(NAMES))]  # all that is undefined
    summary = summarize(units, ("off", "a", "b"), RULE)
    path = write_result(tmp_path, {"summary": summary})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    stored = json.loads(path.read_text(), parse_constant=refuse)["summary"]
    assert stored.keys() == Summary.__dataclass_fields__.keys()
    assert stored["planned"] == PLANNED.tolist()
    assert stored["arms"]["a"]["matrix"] == PLANNED.tolist()
    assert stored["arms"]["a"]["overall"]["mean"] == 0.0
    assert stored["arms"]["off"]["overall"] is None
    assert stored["arms"]["b"]["scores"]["x"] is None


def test_metrics_within_lists_are_paired_too(unit: Unit) -> None:
    units = [
        unit("off", seed, {"x": 0.7}, lists={"x gauc": 0.6 + seed / 100}) for seed in range(3)
    ] + [unit("a", seed, {"x": 0.7}, lists={"x gauc": 0.61 + seed / 100}) for seed in range(2)]
    units.append(unit("a", 2, {"x": 0.7}, lists={"x gauc": None}))
    summary = summarize(units, ("off", "a"), RULE)
    off, a = (summary.lists["x gauc"][arm] for arm in ("off", "a"))
    assert off.mean == pytest.approx(0.61)
    assert off.difference is None
    assert a.mean == pytest.approx((0.61 + 0.62 + 0.5) / 3)  # a collapse has a constant's GAUC
    assert a.difference is not None
    assert (a.difference.pairs, a.difference.mean) == (3, pytest.approx((1 + 1 - 12) / 3))
    assert summary.numbers()["a/lists/x/gauc"] == a.mean
    assert not summarize([unit("off", 0, {"x": 0.7})], ("off",), RULE).lists


def test_a_list_metric_without_a_constant_is_filled_with_the_worst(unit: Unit) -> None:
    """On a seed where no arm has one, or none was measured, nothing is filled in."""
    some: dict[str, list[Any]] = {"off": [0.2, 0.3, None, 0.3], "a": [0.4, None, None]}
    units = [
        unit(arm, seed, {"x": 0.7}, lists={"x mrr": value})
        for arm, values in some.items()
        for seed, value in enumerate(values)
    ]
    summary = summarize([*units, unit("a", 3, {"x": 0.7})], ("off", "a"), RULE)
    one = summary.lists["x mrr"]["a"]
    assert one.mean == pytest.approx((0.4 + 0.2) / 2)
    assert one.difference is not None
    assert (one.difference.pairs, one.difference.mean) == (2, pytest.approx((20 - 10) / 2))


@pytest.mark.parametrize(
    ("stored", "few"),
    [
        ({}, []),
        ({"labelled": {"w": 10, "x": 4000, "y": 4000, "z": 4000}}, ["w"]),
    ],
)
def test_scarce_is_what_borrow_calls_scarce(unit: Unit, stored: Any, few: list[str]) -> None:
    scores = dict.fromkeys("wxyz", 0.5)
    units = [unit(arm, seed, scores, **stored) for arm in ("off", "a") for seed in (0, 1)]
    summary = summarize(units, ("off", "a"), RULE)
    assert summary.few == few
    assert (summary.arms["a"].few is not None) == bool(few)
