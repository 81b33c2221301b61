"""Points over the best rival, by task and by table, against numbers by hand."""

from __future__ import annotations

from typing import Any

import pytest

from recsys_mtl.study.against import ALL, make_page, summarize

KINDS = {"left": "binary", "value": "regression"}
SCORES = {  # arm -> seed -> AUC and log loss of left, rank correlation of value
    "net": {0: (0.80, 0.30, 0.50), 1: (0.82, 0.32, 0.54)},
    "trees": {0: (0.78, 0.29, 0.55), 1: (0.79, 0.29, 0.55)},
    "more_trees": {0: (0.79, 0.33, 0.40), 1: (0.80, 0.31, None)},
}


def unit(table: str, arm: str, seed: int, shift: float = 0.0) -> dict[str, Any]:
    auc, log_loss, rank = SCORES[arm][seed]
    values = {
        "left": {"auc": auc + shift, "log_loss": log_loss},
        "value": {"rank_correlation": rank},
    }
    metrics = {
        task: {name: {"value": value} for name, value in own.items()}
        for task, own in values.items()
    }
    costs = {"seconds": 2.0 + seed} | ({"epochs": 4.0} if arm == "net" else {})
    names = {"arm": arm, "table": table, "seed": seed, "settings": "0"}
    return {**names, "kinds": KINDS, "metrics": metrics, **costs}


def units(table: str = "one", shift: float = 0.0) -> list[dict[str, Any]]:
    """The shift is of the network's AUC."""
    return [
        unit(table, arm, seed, shift if arm == "net" else 0.0) for arm in SCORES for seed in (0, 1)
    ]


def test_the_best_rival_of_each_task_counts() -> None:
    summary = summarize(units(), reference="net", rivals=["trees", "more_trees"])
    left, value = summary.tasks["one"]["left"], summary.tasks["one"]["value"]
    assert (left.metric, left.rival) == ("auc", "more_trees")
    assert (value.metric, value.rival) == ("rank_correlation", "trees")
    net = left.arms["net"]
    assert net.score == pytest.approx(0.81)
    assert net.points is not None
    assert net.points.mean == pytest.approx(1.5)  # 1 and 2
    assert net.points.pairs == net.points.wins == 2
    assert net.points.low < 1.5 < net.points.high
    assert net.log_loss == pytest.approx(0.31)
    assert net.log_loss_points is not None
    assert net.log_loss_points.mean == pytest.approx(-2.0)  # trees are best by log loss
    assert value.arms["net"].log_loss is None
    # an undefined rank correlation counts as that of a constant
    assert value.arms["more_trees"].score == pytest.approx(0.2)


def test_another_metric_judges_the_tasks_that_have_it() -> None:
    results = units()
    for result in results:
        worst = result["arm"] == "trees"
        result["metrics"]["left"]["gauc"] = {"value": 0.6 + 0.01 * result["seed"] - 0.1 * worst}
    summary = summarize(results, reference="net", rivals=["trees", "more_trees"], metric="gauc")
    left = summary.tasks["one"]["left"]
    assert (left.metric, left.rival) == ("gauc", "more_trees")
    assert left.arms["net"].score == pytest.approx(0.605)
    assert summary.tasks["one"]["value"].metric == "rank_correlation"


def test_means_over_tasks_and_tables() -> None:
    results = [*units(), *units("two", shift=-0.02)]
    summary = summarize(results, reference="net", rivals=["trees", "more_trees"])
    assert [*summary.tables] == ["one", "two", ALL]
    means = [arms["net"].points for arms in summary.tables.values()]
    assert [mean and round(mean.mean, 6) for mean in means] == [-0.75, -1.75, -1.25]
    assert summary.tables["one"]["net"].over_reference is None
    over = summary.tables["one"]["trees"].over_reference
    assert over is not None
    assert over.mean == pytest.approx((-2.5 + 3.0) / 2)
    assert summary.tables["one"]["net"].costs == {"seconds": 2.5, "epochs": 4.0}
    assert summary.tables["one"]["trees"].costs == {"seconds": 2.5}
    assert summary.tables[ALL]["net"].costs == {}


@pytest.mark.parametrize("rivals", [[], ["trees"]])
def test_one_seed_has_no_interval(rivals: list[str]) -> None:
    results = [unit("one", arm, 0) for arm in ("net", "trees")]
    summary = summarize(results, reference="net", rivals=rivals)
    assert [*summary.tables] == ["one"]
    text = make_page("title", summary).markdown()
    assert ("| net | 0.8000 | +2.00 |  |" in text) is bool(rivals)
    assert ("| trees | 0.7800 | the rival | -2.00 |" in text) is bool(rivals)
    assert ("| net | 0.3000 | -1.00 |" in text) is bool(rivals)
    assert "| trees |" in text.split("## Log loss")[1]
    assert "nan" not in text


def test_seeds_that_an_arm_lacks_are_left_out() -> None:
    results = [one for one in units() if (one["arm"], one["seed"]) != ("net", 1)]
    summary = summarize(results, reference="net", rivals=["more_trees"])
    points = summary.tables["one"]["net"].points
    assert points is not None
    assert (points.pairs, round(points.mean, 6)) == (1, 5.5)
