from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recsys_mtl.errors import UserError
from recsys_mtl.lifecycle.decide import decide
from recsys_mtl.lifecycle.evidence import Evidence, gather
from recsys_mtl.lifecycle.gate import Gate
from recsys_mtl.tasks.evaluate import evaluate_task

Make = Callable[..., Any]
Rng = np.random.Generator
ROWS = 600
KINDS = {"click": "binary", "band": "multiclass", "spend": "regression", "item": "retrieval"}


def gate(**keys: Any) -> Gate:
    return Gate.model_validate({"resamples": 100} | keys)


class World:
    """Labels of four tasks, and models that know them more or less."""

    def __init__(self, rng: Rng, make_tasks: Make, make_scores: Make) -> None:
        self.rng, self.make_scores = rng, make_scores
        self.tasks = make_tasks(**KINDS)
        self.z = rng.normal(size=ROWS)
        self.labels: dict[str, Any] = {
            "click": (self.z + rng.normal(size=ROWS) > 0) * 1.0,
            "band": np.digitize(self.z + rng.normal(size=ROWS), [-0.5, 0.5]) * 1.0,
            "spend": self.z + rng.normal(size=ROWS),
            "item": rng.integers(1, 4, ROWS) * 1.0,
        }

    def model(self, noise: float, weights: Any = None) -> Any:
        seen = self.z + noise * self.rng.normal(size=ROWS)
        own = 1 / (1 + noise**2)
        edges = np.stack([-seen - 0.2, 0 * seen, seen - 0.2], axis=1) * own
        band = np.exp(edges) / np.exp(edges).sum(axis=1, keepdims=True)
        ranks = 1 + (np.abs(self.rng.normal(size=ROWS)) * (1 + 2 * noise)).astype(int)
        predictions = {
            "click": 1 / (1 + np.exp(-1.6 * seen * own)),
            "band": band,
            "spend": seen * own,
            "item": ranks * 1.0,
        }
        return self.make_scores(self.labels, predictions, weights)

    def compare(self, champion: Any, challenger: Any, **keys: Any) -> Evidence:
        return gather(gate(**keys), (self.tasks, self.tasks), (champion, challenger), bins=7)


@pytest.fixture
def world(rng: Rng, make_tasks: Make, make_scores: Make) -> World:
    return World(rng, make_tasks, make_scores)


def test_a_better_challenger_gains_in_every_task(world: World) -> None:
    evidence = world.compare(world.model(3.0), world.model(0.0))
    assert [task.kind for task in evidence.tasks.values()] == list(KINDS.values())
    assert all(task.gain.low > 0 for task in evidence.tasks.values())
    assert evidence.mean.low > 0.1
    gains = [task.gain.value for task in evidence.tasks.values()]
    assert evidence.mean.value == pytest.approx(np.mean(gains))
    assert (evidence.rows, evidence.used) == (ROWS, ROWS)
    assert decide(gate(), evidence).passed


def test_a_worse_challenger_loses(world: World) -> None:
    evidence = world.compare(world.model(0.0), world.model(3.0))
    assert all(task.gain.high < 0 for task in evidence.tasks.values())
    failures = decide(gate(), evidence).failures
    assert {line.partition(":")[0] for line in failures} >= {*KINDS}
    assert "mean gain" in failures[-1]


def test_an_equal_challenger_gains_nothing_at_all(world: World) -> None:
    same = world.model(1.0)
    evidence = world.compare(same, same)
    for task in evidence.tasks.values():
        assert (task.gain.value, task.gain.low, task.gain.high) == (0.0, 0.0, 0.0)
    decision = decide(gate(), evidence)
    failure = "mean gain +0.0000 [+0.0000, +0.0000] is not surely above 0"
    assert decision.failures == (failure,)
    assert decide(gate(mean=-0.001), evidence).passed


def test_scores_and_errors_are_those_of_evaluation(world: World) -> None:
    weights = world.rng.choice([0.0, 0.5, 2.0], ROWS)
    champion, challenger = world.model(2.0, weights), world.model(0.5, weights)
    click = world.compare(champion, challenger).tasks["click"]
    for index, model in enumerate((champion, challenger)):
        metrics = evaluate_task(
            "binary", world.labels["click"], model.predictions["click"], weights, calibration_bins=7
        )
        assert click.calibration is not None
        assert click.scores[index] == pytest.approx(metrics["auc"])
        assert click.calibration[index] == pytest.approx(metrics["calibration_error"])
    assert click.rows == int((weights > 0).sum())
    assert click.gain.value == click.scores[1] - click.scores[0]
    assert click.growth.low < click.growth.value < click.growth.high


def test_rows_of_no_weight_do_not_count(world: World) -> None:
    """The challenger is wrong exactly where nothing counts."""
    weights = (np.arange(ROWS) % 3 > 0) * 1.0
    good, bad = world.model(0.0, weights), world.model(0.0, weights)
    for predicted in bad.predictions.values():
        predicted[weights == 0] = 0.5
    for name in KINDS:
        bad.predictions[name] = np.where(
            (weights > 0).reshape((-1,) + (1,) * (bad.predictions[name].ndim - 1)),
            good.predictions[name],
            bad.predictions[name],
        )
    evidence = world.compare(good, bad)
    assert all(task.gain.value == 0 for task in evidence.tasks.values())


@pytest.mark.parametrize("champion_weighs", [True, False])
def test_models_with_other_weights_have_labels_in_other_rows(
    world: World, champion_weighs: bool
) -> None:
    weights = (np.arange(ROWS) % 3 > 0) * 1.0
    labels = dict(world.labels)
    plain = world.model(0.5)
    world.labels = {name: np.where(weights > 0, own, np.nan) for name, own in labels.items()}
    weighted = world.model(0.5, weights)
    pair = (weighted, plain) if champion_weighs else (plain, weighted)
    evidence = world.compare(*pair)
    assert not evidence.apart
    assert {task.rows for task in evidence.tasks.values()} == {int(weights.sum())}


def test_a_task_with_few_labels_is_not_judged(world: World) -> None:
    world.labels["click"][150:] = np.nan
    evidence = world.compare(world.model(0.0), world.model(3.0))
    click = evidence.tasks["click"]
    assert (click.rows, click.ungated) == (150, "150 labelled rows, fewer than 200")
    assert click.gain.high < 0  # shown all the same
    others = [task.gain.value for name, task in evidence.tasks.items() if name != "click"]
    assert evidence.mean.value == pytest.approx(np.mean(others))
    assert not any(line.startswith("click") for line in decide(gate(), evidence).failures)


def test_where_no_task_can_be_judged_nobody_passes(world: World) -> None:
    evidence = world.compare(world.model(3.0), world.model(0.0), min_rows=ROWS + 1)
    needed = f"{ROWS + 1} labelled rows, a binary one 20 of each class"
    failure = f"no task can be judged: each needs {needed}"
    assert decide(gate(min_rows=ROWS + 1), evidence).failures == (failure,)


@pytest.mark.parametrize("task", ["click", "band", "spend"])
def test_constant_labels_are_not_judged(world: World, task: str) -> None:
    world.labels[task][:] = 1.0
    evidence = world.compare(world.model(3.0), world.model(0.0))
    assert evidence.tasks[task].ungated == "all labels are equal"
    assert np.isnan(evidence.tasks[task].gain.low)
    assert decide(gate(), evidence).passed


def test_a_label_that_hardly_ever_occurs_is_not_judged(world: World) -> None:
    world.labels["click"][:] = np.arange(ROWS) == 3
    evidence = world.compare(world.model(3.0), world.model(0.0), min_class=1)
    assert "of the resamples" in evidence.tasks["click"].ungated


@pytest.mark.parametrize("positives", [19, 20, ROWS - 20, ROWS - 19])
def test_a_binary_task_needs_rows_of_both_classes(world: World, positives: int) -> None:
    world.labels["click"][:] = np.arange(ROWS) < positives
    why = world.compare(world.model(3.0), world.model(0.0)).tasks["click"].ungated
    few = "19 labelled rows of the smaller class, fewer than 20"
    assert why == ("" if 20 <= positives <= ROWS - 20 else few)


def test_dependent_rows_are_resampled_together(world: World) -> None:
    """Ten copies of each row say as much as the row: intervals do not shrink."""
    first = np.arange(ROWS) // 10
    world.z = world.z[first]
    world.labels = {name: values[first] for name, values in world.labels.items()}
    champion, challenger = world.model(1.0), world.model(0.5)
    for model in (champion, challenger):
        model.predictions.update({k: v[first * 10] for k, v in model.predictions.items()})
    tasks = (world.tasks, world.tasks)
    widths = {}
    for name, dependent in (("rows", None), ("groups", first)):
        evidence = gather(gate(), tasks, (champion, challenger), bins=7, dependent=dependent)
        assert evidence.clustered == (name == "groups")
        gain = evidence.tasks["spend"].gain
        widths[name] = gain.high - gain.low
    assert widths["groups"] > 2 * widths["rows"]


@pytest.mark.parametrize("groups", [29, 30])
def test_few_groups_are_not_judged(world: World, groups: int) -> None:
    """Of few, the interval of the bootstrap is too narrow."""
    scores = world.model(3.0), world.model(0.0)
    world.labels["band"][ROWS // 2 :] = np.nan
    dependent = np.arange(ROWS) * groups // ROWS
    evidence = gather(gate(), (world.tasks,) * 2, scores, bins=7, dependent=dependent)
    why = {name: task.ungated for name, task in evidence.tasks.items()}
    few = "" if groups == 30 else "29 groups, fewer than 30"
    assert why == dict.fromkeys(KINDS, few) | {"band": "15 groups, fewer than 30"}
    assert decide(gate(), evidence).passed == (groups == 30)
    tight = gate(min_groups=31)
    evidence = gather(tight, (world.tasks,) * 2, scores, bins=7, dependent=dependent)
    (failure,) = decide(tight, evidence).failures
    assert failure.endswith("of each class, in 31 groups")
    assert not gather(tight, (world.tasks,) * 2, scores, bins=7).tasks["click"].ungated


def test_a_challenger_that_predicts_one_value_scores_zero(world: World) -> None:
    collapsed = world.model(0.0)
    collapsed.predictions["spend"] = np.full(ROWS, 0.1)
    evidence = world.compare(world.model(0.5), collapsed)
    assert evidence.tasks["spend"].scores[1] == 0.0
    assert evidence.tasks["spend"].gain.high < -0.1


@pytest.mark.parametrize("task", ["click", "band", "spend"])
def test_predictions_that_are_not_finite(world: World, task: str) -> None:
    good, bad = world.model(3.0), world.model(0.0)
    bad.predictions[task][17] = np.nan
    evidence = world.compare(good, bad)
    failure = f"{task}: the challenger's predictions are not finite"
    assert decide(gate(), evidence).failures == (failure,)
    evidence = world.compare(bad, good)
    assert evidence.tasks[task].ungated == "the champion's predictions are not finite"
    assert evidence.tasks[task].broken == ""


def test_few_rows_do_not_hide_broken_predictions(world: World) -> None:
    bad = world.model(0.0)
    bad.predictions["click"][17] = np.nan
    world.labels["click"][150:] = np.nan
    evidence = world.compare(world.model(3.0), bad)
    assert "click: the challenger's predictions are not finite" in decide(gate(), evidence).failures


def test_tasks_that_are_gone_or_new(world: World, make_tasks: Make) -> None:
    pair = world.tasks, make_tasks(click="binary", band="regression", fresh="binary")
    scores = world.model(3.0), world.model(0.0)
    evidence = gather(gate(), pair, scores, bins=7)
    assert [*evidence.tasks] == ["click"]
    assert [*evidence.apart] == ["band", "spend", "item"]
    assert evidence.new == ("fresh",)
    assert "spend: the challenger lacks it" in decide(gate(), evidence).failures


def test_too_many_rows_are_thinned_the_same_way_each_time(world: World) -> None:
    champion, challenger = world.model(3.0), world.model(0.0)
    evidence = world.compare(champion, challenger, rows=300, min_rows=50)
    assert (evidence.rows, evidence.used) == (ROWS, 300)
    assert evidence == world.compare(champion, challenger, rows=300, min_rows=50)
    assert evidence != world.compare(champion, challenger, rows=300, min_rows=50, seed=1)
    assert evidence.tasks["click"].rows == 300


def in_lists(world: World, model: Any) -> Any:
    """The model's rows in lists of ten, and in two segments."""
    halves = {"tab": (np.arange(ROWS) % 2, ["home", "feed"])}
    return replace(model, groups=np.arange(ROWS) // 10, segments=halves)


def test_a_task_is_judged_within_lists(world: World) -> None:
    """A shift of whole lists changes AUC and not GAUC; lists are resampled, not rows."""
    champion, challenger = (in_lists(world, world.model(0.7)) for _ in range(2))
    shift = world.rng.normal(size=ROWS // 10).repeat(10)
    shifted = {**champion.predictions, "click": champion.predictions["click"] + 5 * shift}
    challenger = replace(champion, predictions=shifted)
    by_main = world.compare(champion, challenger)
    within = world.compare(champion, challenger, metric="gauc")
    assert by_main.clustered
    assert by_main.tasks["click"].gain.high < 0
    gain = within.tasks["click"].gain
    assert (gain.value, gain.low, gain.high) == pytest.approx((0, 0, 0), abs=1e-12)
    assert (within.tasks["click"].measure, within.tasks["band"].measure) == ("gauc", "mcfadden_r2")
    loop = evaluate_task(
        "binary", world.labels["click"], champion.predictions["click"], groups=champion.groups
    )
    assert within.tasks["click"].scores[0] == pytest.approx(loop["gauc"])


def test_a_task_is_judged_in_every_segment(world: World) -> None:
    champion = in_lists(world, world.model(0.3))
    bad = {**champion.predictions}
    bad["click"] = np.where(np.arange(ROWS) % 2, 0.5, bad["click"])
    challenger = replace(champion, predictions=bad)
    evidence = world.compare(champion, challenger, segments=0.01)
    assert evidence.segments["click where tab is home"].gain.value == 0
    assert evidence.segments["click where tab is feed"].gain.high < -0.1
    failures = decide(gate(segments=0.01, worst=1.0, mean=-1.0), evidence).failures
    assert [line.partition(":")[0] for line in failures] == ["click where tab is feed"]
    assert not world.compare(champion, challenger).segments
    with pytest.raises(
        UserError, match=r"gate: segments: .* in no segments .*evaluation\.segments"
    ):
        world.compare(champion, replace(challenger, segments={}), segments=0.01)


@pytest.mark.parametrize(
    ("keys", "where", "found"),
    [
        ({"metric": "gauc"}, "gate: metric", "gauc"),
        ({"metric": "auk"}, "gate: metric", "auk"),
        ({"tasks": {"band": {"metric": "gauc"}}}, r"gate: tasks\.band\.metric", "gauc"),
    ],
)
def test_a_metric_that_a_task_does_not_have(
    world: World, keys: dict[str, Any], where: str, found: str
) -> None:
    with pytest.raises(UserError, match=f"{where}: .*found {found}"):
        world.compare(world.model(1.0), world.model(1.0), **keys)
