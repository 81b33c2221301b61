from __future__ import annotations

from typing import Any

import pytest

from recsys_mtl.lifecycle.decide import decide
from recsys_mtl.lifecycle.evidence import Evidence, TaskEvidence
from recsys_mtl.lifecycle.gate import Gate
from recsys_mtl.metrics.bootstrap import Interval

FINE = Interval(0.02, 0.01, 0.03)
STEADY = Interval(0.0, -0.01, 0.01)


def task(gain: Interval = FINE, growth: Interval = STEADY, **keys: Any) -> TaskEvidence:
    parts = {"scores": (0.7, 0.72), "calibration": (0.05, 0.05)} | keys
    return TaskEvidence("binary", 500, gain=gain, growth=growth, **parts)


def decided(keys: dict[str, Any], mean: Interval = FINE, **tasks: TaskEvidence) -> tuple[str, ...]:
    evidence = Evidence(900, 900, tasks=tasks, mean=mean)
    return decide(Gate.model_validate(keys), evidence).failures


def test_all_is_well() -> None:
    decision = decide(Gate(), Evidence(900, 900, {"a": task(), "b": task()}, FINE))
    assert decision.passed
    reason = "mean gain +0.0200 [+0.0100, +0.0300] over 2 tasks, and no task fails"
    assert decision.reason == reason


@pytest.mark.parametrize(
    ("gain", "keys", "fails"),
    [
        (Interval(-0.02, -0.03, -0.0051), {}, True),  # surely worse
        (Interval(-0.02, -0.03, -0.005), {}, False),
        (Interval(-0.02, -0.03, -0.0051), {"worst": 0.01}, False),
        (Interval(-0.02, -0.03, -0.0051), {"tasks": {"a": {"worst": 0.01}}}, False),
        (Interval(-0.02, -0.03, -0.0051), {"tasks": {"a": {"calibration": 0.5}}}, True),
        (Interval(-0.001, -0.002, -0.0005), {"worst": 0.0}, True),
        (Interval(0.1, -0.0051, 0.2), {}, False),
        (Interval(0.1, -0.0051, 0.2), {"strict": True}, True),  # not surely fine
        (Interval(0.1, -0.005, 0.2), {"strict": True}, False),
    ],
)
def test_worst(gain: Interval, keys: dict[str, Any], fails: bool) -> None:
    failures = decided(keys, a=task(gain), b=task())
    assert bool(failures) == fails
    assert all(line.startswith("a: ") and "of auc" in line for line in failures)


@pytest.mark.parametrize(
    ("growth", "keys", "fails"),
    [
        (Interval(0.05, 0.0201, 0.09), {}, True),
        (Interval(0.05, 0.02, 0.09), {}, False),
        (Interval(0.05, 0.0201, 0.09), {"calibration": 0.03}, False),
        (Interval(0.05, 0.0201, 0.09), {"tasks": {"a": {"calibration": 0.03}}}, False),
        (Interval(0.01, -0.01, 0.0201), {"strict": True}, True),
        (Interval(-0.05, -0.09, -0.02), {"calibration": 0.01, "strict": True}, False),
    ],
)
def test_calibration(growth: Interval, keys: dict[str, Any], fails: bool) -> None:
    failures = decided(keys, a=task(growth=growth), b=task())
    assert bool(failures) == fails
    assert all("a: calibration error" in line for line in failures)


@pytest.mark.parametrize(
    ("mean", "limit", "fails"),
    [
        (Interval(0.01, 0.0, 0.02), 0.0, True),
        (Interval(0.01, 0.0001, 0.02), 0.0, False),
        (Interval(0.01, 0.0001, 0.02), 0.001, True),
        (Interval(-0.001, -0.002, 0.001), -0.01, False),
        (Interval(float("nan"), float("nan"), float("nan")), -9.0, True),
    ],
)
def test_mean(mean: Interval, limit: float, fails: bool) -> None:
    failures = decided({"mean": limit}, mean, a=task())
    assert bool(failures) == fails
    assert all("is not surely above" in line for line in failures)


def test_all_failures_are_reported_together() -> None:
    worse = Interval(-0.2, -0.3, -0.1)
    decision = decide(
        Gate(),
        Evidence(9, 9, {"a": task(worse), "b": task(broken="broken")}, worse, {"c": "gone"}),
    )
    assert [line[:2] for line in decision.failures] == ["c:", "a:", "b:", "me"]
    assert decision.reason == "; ".join(decision.failures)
    assert not decision.passed


def test_what_is_not_judged_cannot_fail() -> None:
    worse = task(Interval(-0.2, -0.3, -0.1), Interval(0.5, 0.4, 0.6), ungated="few rows")
    assert decided({}, a=worse, b=task()) == ()
    needed = "200 labelled rows, a binary one 20 of each class"
    assert decided({}, a=worse) == (f"no task can be judged: each needs {needed}",)
