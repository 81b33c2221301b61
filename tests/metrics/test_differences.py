from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from recsys_mtl.metrics.differences import difference, holm, relative_gain, verdict

VALUES = np.array([0.5, 1.5, -0.25, 1.0, 0.75, 2.0, 0.0, 1.25])


def test_interval_and_p_are_those_of_the_paired_t_test() -> None:
    actual = difference(VALUES)
    known = stats.ttest_1samp(VALUES, 0.0)
    low, high = known.confidence_interval(0.95)
    assert actual.p == pytest.approx(known.pvalue)
    assert (actual.low, actual.high) == pytest.approx((low, high))
    assert actual.mean == pytest.approx(VALUES.mean())
    assert (actual.wins, actual.losses, actual.pairs) == (6, 1, 8)


def test_the_bootstrap_interval_is_near_and_the_same_every_time() -> None:
    actual = difference(VALUES)
    known = stats.bootstrap(
        (VALUES,), np.mean, method="percentile", rng=np.random.default_rng(1), n_resamples=9999
    ).confidence_interval
    assert actual.bootstrap == pytest.approx((known.low, known.high), abs=0.05)
    assert difference(VALUES).bootstrap == actual.bootstrap


@pytest.mark.slow  # a simulation
def test_the_interval_covers_and_the_detectable_difference_is_detected() -> None:
    rng = np.random.default_rng(0)
    tries, count, sd = 1000, 8, 1.0
    # The detectable difference is estimated from each sample; in the mean it is this one.
    true = (stats.t.ppf(0.975, count - 1) + stats.t.ppf(0.8, count - 1)) * sd / np.sqrt(count)
    covered = detected = 0
    detectable = []
    for _ in range(tries):
        one = difference(rng.normal(true, sd, count))
        covered += one.low <= true <= one.high
        detected += one.p < 0.05
        detectable.append(one.detectable)
    assert covered / tries == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / tries))
    allowed = 0.03 + 4 * np.sqrt(0.8 * 0.2 / tries)  # the sum of two quantiles is itself a rule
    assert detected / tries == pytest.approx(0.80, abs=allowed)
    error = 4 * np.std(np.square(detectable)) / np.sqrt(tries)
    assert np.mean(np.square(detectable)) == pytest.approx(true**2, abs=error)


def test_nothing_can_be_said_of_fewer_than_two_pairs() -> None:
    for values in (np.array([]), np.array([1.0]), np.array([1.0, np.nan])):
        actual = difference(values)
        assert np.isnan(actual.p)
        assert np.isnan(actual.low)
        assert verdict(actual, 0.05) == (
            "no difference shown",
            "no difference can be shown: fewer than two pairs",
        )


def test_equal_runs_are_no_difference() -> None:
    actual = difference(np.zeros(5))
    assert (actual.p, actual.low, actual.high, actual.wins) == (1.0, 0.0, 0.0, 0)
    assert verdict(actual, 0.05)[0] == "no difference shown"


def test_holm_is_the_step_down() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    some = holm([0.02, float("nan"), 0.5])
    assert some[0] == pytest.approx(0.04)
    assert np.isnan(some[1])
    assert holm([]) == []


def test_holm_keeps_the_familywise_error() -> None:
    rng = np.random.default_rng(1)
    wrong = sum(min(holm(list(rng.random(12)))) < 0.05 for _ in range(4000))
    assert wrong / 4000 == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 4000))


@pytest.mark.parametrize(
    ("values", "word", "text"),
    [
        ([1.0, 1.1, 0.9, 1.0], "helps", "helps: +1.00 points [+0.87, +1.13]"),
        ([-1.0, -1.1, -0.9, -1.0], "hurts", "hurts: -1.00 points [-1.13, -0.87]"),
        ([1.0, -1.0, 2.0, -2.0], "no difference shown", "no difference shown larger than 2.91"),
    ],
)
def test_verdicts(values: list[float], word: str, text: str) -> None:
    actual, sentence = verdict(difference(np.array(values)), 0.005)
    assert actual == word
    assert sentence.startswith(text)


def test_a_small_p_above_alpha_is_no_verdict() -> None:
    actual = difference(np.array([0.2, 0.5, 0.3, 0.6]))
    assert 0.005 < actual.p < 0.05
    assert verdict(actual, 0.005)[0] == "no difference shown"
    assert verdict(actual, 0.05)[0] == "helps"


def test_relative_gain_is_the_mean_in_percent() -> None:
    assert relative_gain({"a": 0.55, "b": 0.3}, {"a": 0.5, "b": 0.4}) == pytest.approx(-7.5)
    assert relative_gain({"a": 0.55, "b": 1.0}, {"a": 0.5, "b": 0.0}) == pytest.approx(10.0)
    assert np.isnan(relative_gain({"a": float("nan")}, {"a": 0.5}))
