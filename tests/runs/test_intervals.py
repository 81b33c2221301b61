from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from recsys_mtl.metrics import Undefined
from recsys_mtl.runs.intervals import RESAMPLES, Rivals, add_intervals
from recsys_mtl.training.evaluate import Scores


def scores(labels: dict[str, np.ndarray], predictions: dict[str, np.ndarray]) -> Scores:
    count = len(next(iter(labels.values())))
    return Scores({}, {}, {}, predictions, labels, np.ones(count), {})


@pytest.mark.slow  # two bootstraps
def test_the_interval_is_that_of_a_bootstrap_by_hand(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 2, 300).astype(float)
    predicted = labels + rng.normal(0, 1.5, 300)
    labels[::7] = np.nan
    known = ~np.isnan(labels)
    auc = roc_auc_score(labels[known], predicted[known])
    metrics = {"click": {"auc": {"value": auc}, "log_loss": {"value": 0.5}}}
    add_intervals(
        metrics, {"click": "binary"}, scores({"click": labels}, {"click": predicted}), seed=3
    )
    entry = metrics["click"]["auc"]
    indices = np.flatnonzero(known)
    draws = []
    for _ in range(600):
        drawn = rng.choice(indices, len(indices))
        draws.append(roc_auc_score(labels[drawn], predicted[drawn]))
    low, high = np.quantile(draws, [0.025, 0.975])
    assert RESAMPLES == 200
    assert entry["low"] == pytest.approx(low, abs=0.02)
    assert entry["high"] == pytest.approx(high, abs=0.02)
    assert entry["low"] < entry["value"] == auc < entry["high"]
    assert metrics["click"]["log_loss"] == {"value": 0.5}


def test_what_is_undefined_has_none(rng: np.random.Generator) -> None:
    nothing = np.full(20, np.nan)
    metrics = {
        "a": {"auc": {"value": None, "reason": "no rows"}},
        "b": {"accuracy": {"value": 1.0}},
    }
    kinds = {"a": "binary", "b": "multiclass"}
    given = scores({"a": nothing, "b": np.zeros(20)}, {"a": nothing, "b": np.ones((20, 1))})
    add_intervals(metrics, kinds, given, seed=0)
    assert metrics == {
        "a": {"auc": {"value": None, "reason": "no rows"}},
        "b": {"accuracy": {"value": 1.0}},
    }


def test_other_kinds(rng: np.random.Generator) -> None:
    value = rng.normal(size=200)
    ranks = rng.integers(1, 9, 200).astype(float)
    given = scores(
        {"v": value, "item": np.ones(200)}, {"v": value + rng.normal(size=200), "item": ranks}
    )
    mrr = float((1 / ranks).mean())
    metrics = {"v": {"rank_correlation": {"value": 0.7}}, "item": {"mrr": {"value": mrr}}}
    add_intervals(metrics, {"v": "regression", "item": "retrieval"}, given, seed=0)
    assert (
        0.5
        < metrics["v"]["rank_correlation"]["low"]
        < metrics["v"]["rank_correlation"]["high"]
        < 0.9
    )
    assert metrics["item"]["mrr"]["low"] < mrr < metrics["item"]["mrr"]["high"]


def test_baselines_are_measured_on_the_same_resamples(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 2, 400).astype(float)
    good = labels + rng.normal(0, 1.5, 400)
    given = scores({"click": labels}, {"click": good})
    predictions = {"same": good, "rank": np.exp(good), "chance": rng.normal(size=400)}
    rivals = Rivals(given, {"click": "binary"}, 3)
    for name, values in predictions.items():
        rivals.keep(name, {"click": values})
    rivals.keep("other rows", {"click": good[:100]})
    rivals.keep("none", {"click": Undefined("no rows")})
    value = {n: roc_auc_score(labels, p) for n, p in {"model": good, **predictions}.items()}
    alone, model = ({"click": {"auc": {"value": value["model"]}}} for _ in range(2))
    others = {name: {"click": {"auc": {"value": value.get(name, 0.5)}}}
              for name in (*predictions, "other rows", "none")}  # fmt: skip
    kinds = {"click": "binary"}
    add_intervals(alone, kinds, given, seed=3)
    add_intervals(model, kinds, given, seed=3, rivals=rivals, baselines=others)
    assert model == alone, "the model's own numbers stay"
    same, chance = others["same"]["click"]["auc"], others["chance"]["click"]["auc"]
    assert same == {**model["click"]["auc"], "difference": {"value": 0.0, "low": 0.0, "high": 0.0}}
    assert others["rank"]["click"]["auc"]["difference"]["high"] == 0.0
    apart = chance["difference"]
    assert apart["value"] == value["model"] - value["chance"]
    assert apart["low"] < apart["value"] < apart["high"]
    width = apart["high"] - apart["low"]
    assert width < chance["high"] - chance["low"] + same["high"] - same["low"]
    assert others["other rows"]["click"]["auc"] == others["none"]["click"]["auc"] == {"value": 0.5}


def test_a_baseline_that_scores_all_items_is_ranked(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 5, 200).astype(float)
    labels[::9] = np.nan
    ranks = rng.integers(1, 5, 200).astype(float)
    given, kinds = scores({"item": labels}, {"item": ranks}), {"item": "retrieval"}
    popularity = np.broadcast_to(np.array([0.0, 0.4, 0.3, 0.2, 0.1]), (200, 5))
    rivals = Rivals(given, kinds, 3)
    rivals.keep("constant", {"item": popularity})
    known = labels[~np.isnan(labels)]
    mrr = float(np.mean([0 if item == 0 else 1 / item for item in known]))
    model = {"item": {"mrr": {"value": float((1 / ranks[~np.isnan(labels)]).mean())}}}
    others = {"constant": {"item": {"mrr": {"value": mrr}}}}
    add_intervals(model, kinds, given, seed=3, rivals=rivals, baselines=others)
    entry = others["constant"]["item"]["mrr"]
    assert entry["low"] < mrr < entry["high"]
    assert rivals.predictions["constant"]["item"].shape == (200,)
