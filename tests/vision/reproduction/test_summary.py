from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recsys_mtl.reports.output import write_result
from recsys_mtl.vision.reproduction.plan import Reproduction
from recsys_mtl.vision.reproduction.summary import summarize

Make = Callable[..., Reproduction]
Results = Callable[[Reproduction], list[dict[str, Any]]]


def test_methods_are_compared_with_both(make: Make, results: Results) -> None:
    plan = make()
    summary = summarize(plan, results(plan)[::-1])
    assert [*summary.methods] == ["sum", "pcgrad", "cagt"]
    assert summary.ranked() == ["cagt", "pcgrad", "sum"]
    plain, pcgrad, cagt = summary.methods.values()
    assert plain.saved is None
    assert cagt.saved_against is None
    assert pcgrad.saved is not None
    assert plain.saved_against is not None
    # Losses are level (1 + 0.01 (seed + rerun)): 0.1 (1 + 0.01 × 3, 4, 4, 5) is saved.
    assert pcgrad.saved.mean == pytest.approx(0.104)
    assert pcgrad.saved.pairs == 4
    assert plain.saved_against.mean == pytest.approx(-0.208)
    assert pcgrad.saved.adjusted == pytest.approx(2 * pcgrad.saved.p)
    assert pcgrad.loss.mean == pytest.approx(0.9 * 1.04 + 0.8 * 0.25 + 0.5 * 0.1)
    assert [one.mean for one in pcgrad.accuracy] == [50.0, 75.0, 100.0]
    assert pcgrad.losses[1].mean == 0.25


def test_steps_are_counted_of_the_runs_that_reached_it(make: Make, results: Results) -> None:
    plan = make("threshold.loss=1.2")  # 0.25 + level (1 + noise)
    methods = summarize(plan, results(plan)).methods
    assert [method.steps for method in methods.values()] == [[], [4] * 4, [4] * 4]
    plan = make("threshold.loss=1.185")
    methods = summarize(plan, results(plan)).methods
    assert [len(method.steps) for method in methods.values()] == [0, 1, 4]
    plan = make("threshold=null")
    assert summarize(plan, results(plan)).methods["cagt"].steps == []


def test_conflicts_are_by_epoch_and_block(make: Make, results: Results) -> None:
    plan = make()
    methods = summarize(plan, results(plan)).methods
    assert methods["sum"].conflicts is None
    np.testing.assert_allclose(methods["cagt"].conflicts, [[0.25, 0.75]] * 2)


def test_it_becomes_strict_json(make: Make, results: Results, tmp_path: Any) -> None:
    plan = make(seeds={"count": 1}, reruns=1)
    summary = summarize(plan, results(plan))
    path = write_result(tmp_path, {"summary": summary})
    read = json.loads(path.read_text(), parse_constant=pytest.fail)["summary"]
    assert read["methods"]["pcgrad"]["saved"]["pairs"] == 1
    assert read["methods"]["pcgrad"]["loss"]["sd"] is None
    assert summary.numbers()["cagt/accuracy/rotation"] == 75.0


def test_one_method_may_be_all(make: Make, results: Results) -> None:
    plan = make(methods={"sum": {}}, against=None)
    assert summarize(plan, results(plan)).ranked() == ["sum"]


def test_the_time_of_a_step_is_that_of_the_least_disturbed_run(
    make: Make, results: Results
) -> None:
    plan = make()
    units = results(plan)
    for number, unit in enumerate(units):
        unit["step_ms"] = 20.0 - number  # sum's come first
    assert summarize(plan, units).methods["sum"].step_ms == 17.0
