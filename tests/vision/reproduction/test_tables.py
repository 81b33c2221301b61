from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recsys_mtl.metrics.differences import difference
from recsys_mtl.vision.reproduction import tables
from recsys_mtl.vision.reproduction.numbers import Spread
from recsys_mtl.vision.reproduction.plan import Reproduction
from recsys_mtl.vision.reproduction.summary import summarize
from recsys_mtl.vision.reproduction.tables import as_published, difference_cells, plus_minus

Make = Callable[..., Reproduction]
Results = Callable[[Reproduction], list[dict[str, Any]]]


def test_losses_are_next_to_the_published(make: Make, results: Results) -> None:
    plan = make()
    table = tables.losses(plan, summarize(plan, results(plan)))
    assert table.columns[:5] == ("method", "loss", "paper", "rank", "paper")
    assert [row[:5] for row in table.rows] == [
        ["sum", "1.2900 ± 0.008", "", "3", ""],
        ["pcgrad", "1.1860 ± 0.007", "0.2957 ± 0.011", "2", "2"],
        ["cagt", "1.0820 ± 0.007", "0.2525", "1", "1"],
    ]
    assert table.rows[2][5:] == ["12.5", "1.00", "321"]
    assert "does not define its loss" in table.note


def test_differences_have_both_references(make: Make, results: Results) -> None:
    plan = make()
    table = tables.differences(plan, summarize(plan, results(plan)))
    assert table.columns[1] == "saved against sum [95 %]"
    assert table.columns[4] == "against cagt [95 %]"
    plain, pcgrad, cagt = table.rows
    assert plain[1:4] == ["", "", ""]
    assert pcgrad[1].startswith("+0.1040 [+0.10")
    assert pcgrad[3] == "4:0"
    assert pcgrad[4].startswith("-0.1040 [-0.10")
    assert cagt[4:] == ["", "", ""]
    plan = make("against=null")
    assert len(tables.differences(plan, summarize(plan, results(plan))).columns) == 4


def test_accuracies_omit_empty_published_columns(make: Make, results: Results) -> None:
    plan = make()
    table = tables.accuracies(plan, summarize(plan, results(plan)))
    assert table.columns == ["method", "digit", "paper", "rotation", "colour"]
    assert table.rows[1] == [
        *("pcgrad", "50.00 ± 0.00", "92.14 ± 0.02", "75.00 ± 0.00", "100.00 ± 0.00")
    ]


def test_areas_have_their_mean_first(make: Make, results: Results) -> None:
    plan = make("published.methods.cagt.auroc=[0.9874, 0.0063]")
    units = results(plan)
    for unit in units:
        unit["epochs"][-1]["auroc"] = [0.5, 0.75, 1.0]
    table = tables.aurocs(plan, summarize(plan, units))
    assert table.rows[2] == [
        "cagt", "0.7500 ± 0.000", "0.9874 ± 0.006", "0.5000 ± 0.000", "0.7500 ± 0.000",
        "1.0000 ± 0.000",
    ]  # fmt: skip


def test_steps_count_the_runs_that_reached_it(make: Make, results: Results) -> None:
    plan = make("threshold.loss=1.185", "threshold.images=900")
    table = tables.steps(plan, summarize(plan, results(plan)))
    assert table.title == "Steps to a loss below 1.185"
    assert table.rows == [
        ["sum", "—", "0 of 4", ""],
        ["pcgrad", "4", "1 of 4", "—"],
        ["cagt", "4", "4 of 4", "884"],
    ]
    assert "every 2 steps, up to step 7, on the same 110 test images" in table.note


def test_attentions_are_adaptive_and_fixed(make: Make, results: Results) -> None:
    published = {"attention": {"cosine": {"adaptive": [0.2893, 0.019], "fixed": [0.2903]}}}
    plan = make(attention={"attentions": ["cosine", "euclidean"]}, published=published)
    summary = summarize(plan, results(plan))
    cosine, euclidean = tables.attentions(plan, summary).rows
    assert cosine == ["cosine", "2.8500 ± 0.020", "0.2893 ± 0.019", "2.3300 ± 0.016", "0.2903"]
    assert euclidean[2] == euclidean[4] == ""
    assert tables.adapting(summary).rows[0][3] == "0:4"


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ([0.1, 0.11, 0.12], "better; loss saved +0.1100 [+0.0852, +0.1348], p = 0.0027"),
        ([-0.1, -0.11, -0.12], "worse; loss saved -0.1100"),
        ([0.1, -0.11, 0.02], "no difference shown; loss saved"),
        ([0.1], "too few pairs to compare"),
    ],
)
def test_a_comparison_is_a_sentence(
    make: Make, results: Results, values: list[float], word: str
) -> None:
    plan = make()
    summary = summarize(plan, results(plan))
    sentence = tables.compared(summary, "cagt", "sum", difference(np.array(values)))
    assert sentence.startswith(f"cagt against sum: {word}")


NAN = float("nan")


@pytest.mark.parametrize(
    ("spread", "shown"),
    [
        (Spread(0.25, 0.0123, 3), "0.2500 ± 0.012"),
        (Spread(0.25, NAN, 1), "0.2500"),
        (Spread(NAN, NAN, 0), ""),
    ],
)
def test_a_spread_is_shown_as_papers_do(spread: Spread, shown: str) -> None:
    assert plus_minus(spread, 4) == shown


def test_a_published_number_may_be_missing_or_alone() -> None:
    assert as_published(None, 4) == ""
    assert as_published([92.14, 0.02], 2) == "92.14 ± 0.02"
    assert as_published([92.14], 2) == "92.14"


def test_a_difference_has_three_cells() -> None:
    cells = difference(np.array([0.1, 0.11, 0.12]))
    assert difference_cells(cells) == ["+0.1100 [+0.0852, +0.1348]", "0.0027", "3:0"]
    assert difference_cells(difference(np.array([-0.1]))) == ["-0.1000", "", "0:1"]
    assert difference_cells(None) == ["", "", ""]
    assert difference_cells(difference(np.array([]))) == ["", "", "0:0"]
