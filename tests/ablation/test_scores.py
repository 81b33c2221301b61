from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from data_synth.targets import BinaryTarget, ClassTarget, ItemTarget, RegressionTarget
from recsys_mtl.ablation.scores import reach, score, true_score
from recsys_mtl.metrics.binary import auc
from recsys_mtl.training.evaluate import Scores


def scores_of(predictions: np.ndarray, labels: np.ndarray) -> Scores:
    return Scores(
        losses={}, labelled={}, metrics={}, predictions={"t": predictions}, labels={"t": labels},
        weights=np.ones(len(labels)), gates={},
    )  # fmt: skip


def test_unlabelled_rows_count_with_the_truth_only(rng: np.random.Generator) -> None:
    target = BinaryTarget(0.0, 1.0, 0.5, 0.0)
    linear = rng.normal(size=300)
    labels = (rng.random(300) < expit(linear)).astype(float)
    labels[100:] = np.nan
    scores = scores_of(expit(linear), labels)
    assert score("binary", scores, "t") == pytest.approx(
        roc_auc_score(labels[:100], expit(linear)[:100])
    )
    assert true_score(target, scores, "t", linear) == pytest.approx(
        auc(expit(linear), linear, np.ones(300))
    )


def test_rows_count_by_their_weight(rng: np.random.Generator) -> None:
    labels, predicted = np.array([0.0, 1, 0, 1, 1]), np.array([0.3, 0.2, 0.1, 0.9, 0.5])
    weights = np.array([2.0, 1, 1, 3, 0])
    repeated = np.repeat(np.arange(5), weights.astype(int))
    weighted = replace(scores_of(predicted, labels), weights=weights)
    expected = score("binary", scores_of(predicted[repeated], labels[repeated]), "t")
    assert score("binary", weighted, "t") == pytest.approx(expected)
    truth = BinaryTarget(0.0, 1.0, 0.5, 0.0)
    linear = rng.normal(size=5)
    first = scores_of(predicted[:4], labels[:4])
    some = replace(weighted, weights=np.array([2.0, 2, 2, 2, 0]))
    expected = true_score(truth, first, "t", linear[:4])
    assert true_score(truth, some, "t", linear) == pytest.approx(expected)


def test_an_oracle_reaches_1_and_a_constant_0(rng: np.random.Generator) -> None:
    linear = rng.normal(size=400)
    counts = np.ones(len(ClassTarget.grid.points))
    classes = ClassTarget.fit(counts, classes=4, zipf=0.5, signal=1.5, noise=0.1, rng=rng)
    binary = BinaryTarget(-1.0, 1.5, 0.3, 0.05)
    number = RegressionTarget("lognormal", 0.0, 1.0, 0.5, 1.0, 2.0, 0.0)
    nothing = np.full(400, np.nan)
    for target, oracle, constant in (
        (binary, binary.predict(linear), np.full(400, 0.3)),
        (classes, classes.predict(linear), np.tile(classes.predict(linear).mean(0), (400, 1))),
        (number, number.predict(linear), None),
    ):
        low, high = reach(target, linear)
        assert true_score(target, scores_of(oracle, nothing), "t", linear) == pytest.approx(high)
        if constant is not None:
            score = true_score(target, scores_of(constant, nothing), "t", linear)
            assert score == pytest.approx(low, abs=1e-9)


def test_items_are_scored_by_their_labels(rng: np.random.Generator) -> None:
    counts = np.ones(len(ItemTarget.grid.points))
    items = ItemTarget.fit(counts, classes=30, zipf=1.0, signal=2.0, noise=0.0, rng=rng)
    linear = items.linear(rng.normal(size=2000))
    drawn = items.draw(linear / items.slope, rng).astype(float)
    drawn[::5] = np.nan
    low, high = reach(items, linear, drawn)
    known = drawn[~np.isnan(drawn)].astype(int)
    ranks = items.ranks(linear[~np.isnan(drawn)], known)
    scores = scores_of(np.where(np.isnan(drawn), np.nan, 1.0), drawn)
    scores.predictions["t"][~np.isnan(drawn)] = ranks
    assert score("retrieval", scores, "t") == pytest.approx(high)
    assert 0 < low < high < 1


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression", "retrieval"])
@pytest.mark.parametrize("why", ["no labels", "no number"])
def test_what_has_no_score_is_nan(kind: str, why: str) -> None:
    labels = np.array([0.0, 1.0, 1.0]) if why == "no number" else np.full(3, np.nan)
    predictions = np.array([0.5, 0.2, np.nan])
    if kind == "multiclass":
        predictions = np.stack([predictions, 1 - predictions], axis=1)
    assert np.isnan(score(kind, scores_of(predictions, labels), "t"))  # type: ignore[arg-type]


def test_equal_predictions_have_no_ranks() -> None:
    scores = scores_of(np.ones(3), np.arange(3.0))
    assert np.isnan(score("regression", scores, "t"))
    assert score("binary", scores_of(np.ones(3), np.array([0.0, 1, 1])), "t") == 0.5
