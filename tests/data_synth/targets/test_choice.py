from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from data_synth.grid import COARSE
from data_synth.targets import TARGETS, ChoiceTarget

NORMAL = np.exp(-(COARSE.points**2) / 2)


def fit(classes: int, noise: float = 0.0, kind: Any = "multiclass", **more: Any) -> ChoiceTarget:
    options = {"zipf": 0.8, "signal": 1.5, "rng": np.random.default_rng(5)} | more
    return TARGETS[kind].fit(NORMAL, classes=classes, noise=noise, **options)


@given(st.integers(2, 60), st.floats(0.0, 2.0), st.floats(0.01, 3.0), st.floats(0.0, 0.9))
def test_shares_are_zipf_and_met(classes: int, zipf: float, signal: float, noise: float) -> None:
    target = fit(classes, noise, zipf=zipf, signal=signal)
    planned = np.arange(1, classes + 1) ** -zipf
    np.testing.assert_allclose(target.constant(), planned / planned.sum())
    chances = target.predict(target.linear(COARSE.points))
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)
    np.testing.assert_allclose(NORMAL @ chances / NORMAL.sum(), target.constant(), rtol=1e-3)
    assert target.weights.mean() == pytest.approx(0.0, abs=1e-12)
    assert target.weights.var() == pytest.approx(1.0)


def test_chances_are_a_softmax_of_the_rounded_score() -> None:
    target = fit(4)
    eta = target.linear(np.array([0.5, 0.51], dtype=np.float32))
    assert eta[0] == eta[1] == 0.5 * target.slope  # a grid of 1/32
    expected = softmax(target.intercepts + 0.75 * target.weights)
    np.testing.assert_allclose(target.predict(np.array([0.75]))[0], expected)


@pytest.mark.parametrize("classes", [2, 7, 300])
def test_draws_follow_the_chances(classes: int, rng: np.random.Generator) -> None:
    target, count = fit(classes), 60_000
    for score in (-11.0, -0.5, 1.25, 11.0):  # beyond the grid too
        scores = np.full(count, score, dtype=np.float32)
        drawn = target.draw(scores, rng)
        chances = target.predict(target.linear(scores[:1]))[0]
        actual = np.bincount(drawn, minlength=classes) / count
        se = np.sqrt(chances * (1 - chances) / count)
        # A count of few is skewed: one more count on top.
        assert (np.abs(actual - chances) < 4.5 * se + 5 / count).all()


@pytest.mark.parametrize("noise", [0.0, 0.6])
def test_ranks_are_those_of_the_predictions(noise: float, rng: np.random.Generator) -> None:
    """Of the label as observed: noise that favours frequent items changes the order."""
    target = fit(12, noise, kind="retrieval", signal=2.0)
    eta = target.linear(rng.standard_normal(300).astype(np.float32))
    chances = target.predict(eta)
    labels = rng.integers(12, size=300)
    mine = chances[np.arange(300), labels]
    np.testing.assert_array_equal(target.ranks(eta, labels), (chances > mine[:, None]).sum(1) + 1)


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_metrics_of_classes_by_enumeration(noise: float, rng: np.random.Generator) -> None:
    target, counts = fit(5, noise), rng.poisson(30 * NORMAL)
    shares = counts / counts.sum()
    chances = (1 - noise) * target.chances + noise * target.marginal
    joint = shares[:, None] * chances  # of point and class
    overall = joint.sum(axis=0)
    metrics = target.metrics(counts)
    assert metrics["oracle"] == pytest.approx(
        {
            "accuracy": sum(row[c] for row, c in zip(joint, chances.argmax(1), strict=True)),
            "log_loss": -(joint * np.log(chances)).sum(),
        }
    )
    assert metrics["constant"] == pytest.approx(
        {"accuracy": overall.max(), "log_loss": -(overall * np.log(overall)).sum()}
    )


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_metrics_of_items_by_enumeration(noise: float, rng: np.random.Generator) -> None:
    target, counts = fit(15, noise, kind="retrieval"), rng.poisson(30 * NORMAL)
    shares = counts / counts.sum()
    eta = target.linear(COARSE.points)
    chances = target.predict(eta)
    ranks = np.stack([target.ranks(eta, np.full(len(eta), c)) for c in range(15)], axis=1)
    joint = shares[:, None] * chances
    expected = {f"recall_at_{k}": joint[ranks <= k].sum() for k in (1, 5, 10)}
    assert target.metrics(counts)["oracle"] == pytest.approx(
        expected | {"mrr": (joint / ranks).sum()}
    )


def test_fewer_items_than_k() -> None:
    metrics = fit(3, kind="retrieval").metrics(NORMAL)
    assert metrics["oracle"]["recall_at_10"] == pytest.approx(1.0)
    assert metrics["constant"]["recall_at_5"] == pytest.approx(1.0)
