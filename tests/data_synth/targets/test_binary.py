from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from data_synth.grid import FINE
from data_synth.targets import BinaryTarget
from data_synth.targets.binary import together

RATES = st.floats(0.001, 0.999)
NORMAL = np.exp(-(FINE.points**2) / 2)


@given(RATES, st.floats(0.01, 5.0), st.floats(0.0, 0.9))
def test_the_rate_is_met(rate: float, signal: float, noise: float) -> None:
    target = BinaryTarget.fit(NORMAL, rate=rate, signal=signal, noise=noise)
    chances = target.predict(target.linear(FINE.points))
    assert NORMAL @ chances / NORMAL.sum() == pytest.approx(rate, rel=1e-6)
    assert target.constant() == rate


@given(RATES, st.floats(0.01, 3.0), st.floats(0.0, 0.9))
def test_the_opposite(rate: float, signal: float, noise: float) -> None:
    target = BinaryTarget.fit(NORMAL, rate=rate, signal=signal, noise=noise)
    other = target.opposite()
    f = np.linspace(-3, 3, 7)
    np.testing.assert_array_equal(other.linear(f), -target.linear(f))
    np.testing.assert_allclose(other.predict(other.linear(f)), 1 - target.predict(target.linear(f)))
    mine, its = target.metrics(NORMAL), other.metrics(NORMAL)
    for who in ("oracle", "constant"):
        for metric in ("auc", "log_loss"):
            assert its[who][metric] == pytest.approx(mine[who][metric], rel=1e-9)


def test_events_together_have_the_product_of_their_chances_and_rates() -> None:
    scores = np.linspace(-9, 9, 7)
    targets = [BinaryTarget(-1.0, 2.0, 0.3, 0.0), BinaryTarget(0.5, -1.0, 0.6, 0.2)]
    linear = [target.linear(scores) for target in targets]
    both, own = together(targets, linear)
    chances = [t.predict(eta) for t, eta in zip(targets, linear, strict=True)]
    np.testing.assert_allclose(both.predict(own), chances[0] * chances[1], rtol=1e-12)
    assert both.constant() == pytest.approx(0.18)


@pytest.mark.parametrize("noise", [0.0, 0.25])
def test_metrics_are_those_of_weighted_rows(noise: float, rng: np.random.Generator) -> None:
    """Each grid point as two rows, a positive and a negative, weighted by their chances."""
    target = BinaryTarget.fit(NORMAL, rate=0.1, signal=1.5, noise=noise)
    counts = rng.poisson(20 * NORMAL)
    chances = target.predict(target.linear(FINE.points))
    labels = np.repeat([1, 0], len(chances))
    weights = np.concatenate([counts * chances, counts * (1 - chances)])
    predicted = np.tile(chances, 2)
    metrics = target.metrics(counts)
    rate = counts @ chances / counts.sum()
    sklearn = {
        "auc": roc_auc_score(labels, predicted, sample_weight=weights),
        "pr_auc": average_precision_score(labels, predicted, sample_weight=weights),
        "log_loss": log_loss(labels, predicted, sample_weight=weights),
    }
    # Neighbours in the far tails have chances equal to float64: ties to sklearn.
    assert metrics["oracle"] == pytest.approx(sklearn, rel=1e-9)
    entropy = -rate * np.log(rate) - (1 - rate) * np.log1p(-rate)
    assert metrics["constant"] == pytest.approx({"auc": 0.5, "pr_auc": rate, "log_loss": entropy})


def test_draws_follow_the_chances(rng: np.random.Generator) -> None:
    target = BinaryTarget.fit(NORMAL, rate=0.3, signal=2.0, noise=0.0)
    for score in (-1.5, 0.0, 2.0):
        drawn = target.draw(np.full(40_000, score, dtype=np.float32), rng)
        chance = expit(target.intercept + 2.0 * score)
        assert abs(drawn.mean() - chance) < 4.5 * np.sqrt(chance * (1 - chance) / 40_000)


def test_noise_keeps_the_rate_and_flattens(rng: np.random.Generator) -> None:
    target = BinaryTarget.fit(NORMAL, rate=0.3, signal=3.0, noise=0.5)
    scores = rng.standard_normal(200_000).astype(np.float32)
    drawn = target.draw(scores, rng)
    high = scores > 1
    expected = target.predict(target.linear(scores[high])).mean()
    assert abs(drawn[high].mean() - expected) < 4.5 * 0.5 / np.sqrt(high.sum())
    assert abs(drawn.mean() - 0.3) < 4.5 * np.sqrt(0.21 / 200_000)


def test_no_rows_of_a_class_is_no_crash() -> None:
    counts = np.zeros(len(FINE.points))
    counts[0] = 1
    metrics = BinaryTarget(-40.0, 5.0, 0.1, 0.0).metrics(counts)
    assert 0.0 <= metrics["oracle"]["auc"] <= 1.0
