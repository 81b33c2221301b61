from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from recsys_mtl.metrics.differences import (
    corrected,
    difference,
    holm,
    relative_gain,
    verdict,
)

VALUES = np.array([0.5, 1.5, -0.25, 1.0, 0.75, 2.0, 0.0, 1.25])


def test_interval_and_p_are_those_of_the_paired_t_test() -> None:
    actual = difference(VALUES)
    known = stats.ttest_1samp(VALUES, 0.0)
    low, high = known.confidence_interval(0.95)
    assert actual.p == pytest.approx(known.pvalue)
    assert (actual.low, actual.high) == pytest.approx((low, high))
    assert actual.mean == pytest.approx(VALUES.mean())
    assert (actual.wins, actual.losses, actual.pairs) == (6, 1, 8)


def test_the_level_is_that_of_the_interval() -> None:
    low, high = stats.ttest_1samp(VALUES, 0.0).confidence_interval(0.995)
    one = difference(VALUES, level=0.995)
    assert (one.low, one.high) == pytest.approx((low, high))


@pytest.mark.slow  # a simulation
@pytest.mark.parametrize("level", [0.95, 0.995])
@pytest.mark.parametrize("count", [3, 5, 10])
def test_power_and_coverage_are_as_stated(count: int, level: float) -> None:
    rng = np.random.default_rng(count)
    tries, sd, matters, alpha = 4000, 0.7, 0.1, 1 - level
    shift = stats.nct.ppf  # of the noncentral t: an independent route to the detectable difference
    critical = stats.t.ppf(1 - alpha / 2, count - 1)
    low, high = 0.0, 300.0
    for _ in range(60):
        middle = (low + high) / 2
        short = shift(0.2, count - 1, middle) < critical
        low, high = (middle, high) if short else (low, middle)
    true = matters + low * sd / np.sqrt(count)

    def verdicts(mean: float) -> list[str]:
        samples = rng.normal(mean, sd, (tries, count))
        many = [difference(values, level=level, matters=matters) for values in samples]
        inside = np.mean([one.low <= mean <= one.high for one in many])
        assert inside == pytest.approx(level, abs=4 * np.sqrt(level * alpha / tries))
        return [verdict(one, alpha=alpha, matters=matters)[0] for one in many]

    power = np.mean([word == "helps" for word in verdicts(true)])
    assert power == pytest.approx(0.8, abs=4 * np.sqrt(0.8 * 0.2 / tries))
    for null in (0.0, matters, -matters):
        wrong = np.mean([word in ("helps", "hurts") for word in verdicts(null)])
        assert wrong <= alpha + 4 * np.sqrt(alpha / tries)


def test_the_detectable_difference_grows_from_what_matters() -> None:
    plain = difference(VALUES)
    error = VALUES.std(ddof=1) / np.sqrt(len(VALUES))
    critical = stats.t.ppf(0.975, 7)
    assert 1 - stats.nct.cdf(critical, 7, plain.detectable / error) == pytest.approx(0.8, abs=1e-4)
    assert difference(VALUES, matters=0.5).detectable == pytest.approx(plain.detectable + 0.5)


def test_power_is_that_of_the_corrected_verdict() -> None:
    """One arm of five gains what is stated as detectable, the others nothing."""
    rng, count, tries, found = np.random.default_rng(0), 8, 600, 0
    one = difference(VALUES, level=0.995, matters=0.1, tests=5)
    strict = difference(VALUES, level=0.999, matters=0.1)
    assert (one.detectable, one.needed) == (pytest.approx(strict.detectable), strict.needed)
    plain = difference(VALUES, level=0.995, matters=0.1)
    assert (one.low, one.high, one.p) == (plain.low, plain.high, plain.p)
    gains = [(one.detectable if arm == 0 else 0.0) for arm in range(5)]
    for _ in range(tries):
        samples = rng.normal(gains, VALUES.std(ddof=1), (count, 5)).T
        many = {str(i): difference(own, level=0.995, matters=0.1) for i, own in enumerate(samples)}
        found += verdict(corrected(many)["0"], alpha=0.005, matters=0.1)[0] == "helps"
    assert found / tries > 0.8 - 4 * np.sqrt(0.8 * 0.2 / tries)


def test_so_many_pairs_are_needed() -> None:
    assert difference(VALUES).needed is None
    needed = difference(VALUES, matters=0.5).needed
    assert needed is not None
    sd = VALUES.std(ddof=1)

    def power(count: int) -> float:
        critical = stats.t.ppf(0.975, count - 1)
        return float(1 - stats.nct.cdf(critical, count - 1, 0.5 * np.sqrt(count) / sd))

    assert power(needed) >= 0.8 > power(needed - 1)
    assert difference(VALUES, matters=0.001).needed is None


def test_nothing_can_be_said_of_fewer_than_two_pairs() -> None:
    for values in (np.array([]), np.array([1.0]), np.array([1.0, np.nan])):
        actual = difference(values)
        assert np.isnan(actual.p)
        assert np.isnan(actual.low)
        assert verdict(actual, alpha=0.05, matters=0.1) == (
            "not decided",
            "not decided: fewer than two pairs",
        )


def test_equal_runs_are_no_difference() -> None:
    actual = difference(np.zeros(5))
    assert (actual.p, actual.low, actual.high, actual.wins) == (1.0, 0.0, 0.0, 0)
    assert verdict(actual, alpha=0.05, matters=0.0)[0] == "no difference that matters"


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
        ([1.0, 1.1, 0.9, 1.0], "helps", "helps: +1.00 points [+0.70, +1.30]"),
        ([-1.0, -1.1, -0.9, -1.0], "hurts", "hurts: -1.00 points [-1.30, -0.70]"),
        ([1.0, -1.0, 2.0, -2.0], "not decided", "not decided by 4 seeds: +0.00 points [-6.80,"),
        ([0.01, 0.0, -0.01, 0.02], "no difference that matters", "no difference that matters: +"),
        ([0.10, 0.11, 0.09, 0.10], "not decided", "not decided by 4 seeds: +0.10 points [+0.07"),
        ([-0.10, -0.11, -0.09, -0.10], "not decided", "not decided by 4 seeds: -0.10 points"),
    ],
)
def test_verdicts(values: list[float], word: str, text: str) -> None:
    one = difference(np.array(values), level=0.995, matters=0.1)
    actual, sentence = verdict(one, alpha=0.005, matters=0.1)
    assert actual == word
    assert sentence.startswith(text)


def test_a_small_p_above_alpha_decides_nothing() -> None:
    values = np.array([0.2, 0.5, 0.3, 0.6])
    for alpha, word in ((0.005, "not decided"), (0.05, "helps")):
        one = difference(values, level=1 - alpha)
        assert 0.005 < one.p < 0.05
        assert verdict(one, alpha=alpha, matters=0.0)[0] == word


def test_p_that_is_corrected_decides() -> None:
    values = np.array([0.2, 0.5, 0.3, 0.6])
    three = corrected({name: difference(values) for name in "abc"})
    assert verdict(difference(values), alpha=0.05, matters=0.0)[0] == "helps"
    assert verdict(three["a"], alpha=0.05, matters=0.0)[0] == "not decided"


def test_relative_gain_is_the_mean_in_percent() -> None:
    assert relative_gain({"a": 0.55, "b": 0.3}, {"a": 0.5, "b": 0.4}) == pytest.approx(-7.5)
    assert relative_gain({"a": 0.55, "b": 1.0}, {"a": 0.5, "b": 0.0}) == pytest.approx(10.0)
    assert np.isnan(relative_gain({"a": float("nan")}, {"a": 0.5}))
