from __future__ import annotations

import numpy as np
import pytest

from recsys_mtl.metrics.bootstrap import UNKNOWN, drawn_rows, interval, resampled
from recsys_mtl.tasks import kind_of
from recsys_mtl.tasks.evaluate import evaluate_task

Rng = np.random.Generator


def test_it_is_the_slow_loop_over_repeated_rows(rng: Rng) -> None:
    count, resamples = 60, 9
    z = rng.normal(size=count)
    labels = (z + rng.normal(size=count) > 0) * 1.0
    weights = rng.choice([0.5, 1.0, 3.0], count)
    predictions = [z, rng.normal(size=count)]
    score = kind_of("binary").score([labels] * 2, predictions)
    click = resampled({"click": score}, weights, resamples=resamples, seed=5)["click"]
    draws = np.random.default_rng(5)
    for values in click:
        rows = draws.integers(count, size=count)
        for value, predicted in zip(values, predictions, strict=True):
            slow = evaluate_task("binary", labels[rows], predicted[rows], weights[rows])
            assert value == pytest.approx(slow["auc"], abs=1e-12)


def test_every_score_is_of_the_same_rows(rng: Rng) -> None:
    seen: dict[str, list[bytes]] = {"a": [], "b": []}

    def watch(name: str):  # type: ignore[no-untyped-def]
        def score(weights: np.ndarray) -> np.ndarray:
            seen[name].append(weights.tobytes())
            return np.array([weights.sum()])

        return score

    actual = resampled({n: watch(n) for n in seen}, np.ones(7), resamples=3, seed=0)
    assert seen["a"] == seen["b"]
    assert len(set(seen["a"])) == 3
    assert actual["a"].shape == (3, 1)
    assert (actual["a"] == 7).all()


def test_the_interval_covers_the_truth(rng: Rng) -> None:
    """Two models of equal skill: their difference is 0 in most of many tries."""
    covered = 0
    for seed in range(40):
        z = rng.normal(size=150)
        labels = (z + rng.normal(size=150) > 0) * 1.0
        pair = [z + rng.normal(size=150), z + rng.normal(size=150)]
        score = kind_of("binary").score([labels] * 2, pair)
        draws = resampled({"x": score}, np.ones(150), resamples=100, seed=seed)["x"]
        actual = interval(0.0, draws[:, 1] - draws[:, 0])
        covered += actual.low <= 0 <= actual.high
    assert covered >= 33  # of 40; fewer in 1 of 1000 tries at 95 %


def test_interval() -> None:
    actual = interval(5.0, np.r_[np.arange(1001) / 100, np.nan])
    assert (actual.value, actual.low, actual.high) == pytest.approx((5.0, 0.25, 9.75))
    unknown = interval(1.0, np.full(9, np.nan))
    assert unknown.value == 1.0
    assert np.isnan([unknown.low, unknown.high, UNKNOWN.value]).all()


def test_drawn_rows() -> None:
    assert drawn_rows(5, 5, 0).tolist() == [0, 1, 2, 3, 4]
    some = drawn_rows(1000, 30, 1)
    assert len(set(some.tolist())) == 30
    assert (np.diff(some) > 0).all()
    assert some.tolist() == drawn_rows(1000, 30, 1).tolist()
    assert some.tolist() != drawn_rows(1000, 30, 2).tolist()
