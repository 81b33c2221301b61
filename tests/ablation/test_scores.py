from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax
from scipy.stats import spearmanr
from sklearn.metrics import log_loss, roc_auc_score

from data_synth.targets import BinaryTarget, ChoiceTarget, RegressionTarget
from recsys_mtl.ablation.scores import (
    expected_auc,
    explained,
    rank_correlation,
    reach,
    score,
    true_score,
)
from recsys_mtl.training.evaluate import Scores


def literal_auc(predicted: np.ndarray, chance: np.ndarray) -> float:
    """Over all pairs, one by one."""
    won = all_pairs = 0.0
    for i in range(len(predicted)):
        for j in range(len(predicted)):
            if i != j:
                weight = chance[i] * (1 - chance[j])
                all_pairs += weight
                won += weight * (
                    (predicted[i] > predicted[j]) + 0.5 * (predicted[i] == predicted[j])
                )
    return won / all_pairs


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0.01, 0.99)), min_size=2, max_size=12))
def test_expected_auc_is_the_sum_over_pairs(rows: list[tuple[int, float]]) -> None:
    predicted, chance = np.array(rows, float).T
    assert expected_auc(predicted, chance) == pytest.approx(literal_auc(predicted, chance))


def test_of_labels_it_is_the_auc(rng: np.random.Generator) -> None:
    labels, predicted = rng.integers(0, 2, 200), rng.normal(size=200).round(1)
    assert expected_auc(predicted, labels.astype(float)) == pytest.approx(
        roc_auc_score(labels, predicted)
    )
    assert np.isnan(expected_auc(predicted, np.ones(200)))


def test_expected_auc_is_what_drawn_labels_give_in_the_mean(rng: np.random.Generator) -> None:
    chance, predicted = expit(rng.normal(size=400)), rng.normal(size=400)
    predicted += np.log(chance)
    drawn = [roc_auc_score(rng.random(400) < chance, predicted) for _ in range(400)]
    error = np.std(drawn) / np.sqrt(len(drawn))
    assert expected_auc(predicted, chance) == pytest.approx(np.mean(drawn), abs=4 * error)


def test_explained_is_mcfadden_s(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 3, 300)
    predicted = softmax(rng.normal(size=(300, 3)) + 2 * np.eye(3)[labels], axis=1)
    shares = np.bincount(labels) / 300
    known = 1 - log_loss(labels, predicted) / log_loss(labels, np.tile(shares, (300, 1)))
    assert explained(predicted, np.eye(3)[labels]) == pytest.approx(known)
    chances = softmax(rng.normal(size=(50, 3)), axis=1)
    assert explained(np.tile(chances.mean(0), (50, 1)), chances) == pytest.approx(0.0, abs=1e-12)
    assert explained(chances, chances) >= explained(softmax(chances, axis=1), chances)


def test_rank_correlation_is_spearman_s(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(2, 50)).round(1)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert np.isnan(rank_correlation(np.ones(50), b))


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
    found = scores_of(expit(linear), labels)
    assert score("binary", found, "t") == pytest.approx(
        roc_auc_score(labels[:100], expit(linear)[:100])
    )
    assert true_score(target, found, "t", linear) == pytest.approx(
        expected_auc(linear, expit(linear))
    )


def test_an_oracle_reaches_1_and_a_constant_0(rng: np.random.Generator) -> None:
    linear = rng.normal(size=400)
    counts = np.ones(len(ChoiceTarget.grid.points))
    classes = ChoiceTarget.fit(
        counts, kind="multiclass", classes=4, zipf=0.5, signal=1.5, noise=0.1, rng=rng
    )
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
            found = true_score(target, scores_of(constant, nothing), "t", linear)
            assert found == pytest.approx(low, abs=1e-9)


def test_items_are_scored_by_their_labels(rng: np.random.Generator) -> None:
    counts = np.ones(len(ChoiceTarget.grid.points))
    items = ChoiceTarget.fit(
        counts, kind="retrieval", classes=30, zipf=1.0, signal=2.0, noise=0.0, rng=rng
    )
    linear = items.linear(rng.normal(size=2000))
    drawn = items.draw(linear / items.slope, rng).astype(float)
    drawn[::5] = np.nan
    low, high = reach(items, linear, drawn)
    known = drawn[~np.isnan(drawn)].astype(int)
    ranks = items.ranks(linear[~np.isnan(drawn)], known)
    found = scores_of(np.where(np.isnan(drawn), np.nan, 1.0), drawn)
    found.predictions["t"][~np.isnan(drawn)] = ranks
    assert score("retrieval", found, "t") == pytest.approx(high)
    assert 0 < low < high < 1
