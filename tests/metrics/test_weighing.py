from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from recsys_mtl.metrics.undefined import Undefined, as_float, defined
from recsys_mtl.metrics.weighing import (
    Ranking,
    dense_ranks,
    entropy,
    prepare_mean,
    rising,
    running_sum,
    sums,
)

Rng = np.random.Generator


def test_with_and_without_torch_sums_have_the_same_digits(
    rng: Rng, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = rng.lognormal(size=10_000)
    assert sys.modules["torch"] is torch
    fast = running_sum(values)
    monkeypatch.delitem(sys.modules, "torch")
    assert running_sum(values).tolist() == fast.tolist() == [0.0, *np.cumsum(values)]


@pytest.mark.slow  # a fresh process
def test_metrics_need_no_heavy_library() -> None:
    code = (
        "import sys, numpy as np\n"
        "from recsys_mtl.tasks.evaluate import evaluate_task\n"
        "evaluate_task('binary', np.array([0., 1.]), np.array([.2, .4]))\n"
        "print([name for name in ('torch', 'sklearn', 'scipy.stats') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ranks() -> None:
    values, weights = np.array([0.5, -1.0, 0.5, 3.0]), np.array([1.0, 2.0, 0.5, 1.5])
    ranks = dense_ranks(values)
    assert ranks.tolist() == [1, 0, 1, 2]
    ranking = Ranking(ranks)
    assert ranking.order.tolist() == rising(ranks).tolist() == [1, 0, 2, 3]
    # Mid-ranks 1, 2.75, 2.75 and 4.25, their mean 2.5, twice.
    assert ranking.centred(weights[ranking.order]).tolist() == [-3.0, 0.5, 0.5, 3.5]
    assert Ranking(np.array([1, 0, 2])).centred(np.array([2.0, 1.0, 1.0])).tolist() == [-2, 1, 3]


def test_means_and_sums() -> None:
    weigh = prepare_mean(np.array([1.0, 4.0]))
    assert weigh(np.array([2.0, 1.0])) == 2.0
    assert np.isnan(weigh(np.zeros(2)))
    assert sums(np.array([0, 2, 0]), np.array([1, 2, 3])).tolist() == [4.0, 0.0, 2.0]
    assert entropy(np.array([0.5, 0.0, 0.5])) == pytest.approx(np.log(2))


def test_a_metric_or_why_there_is_none() -> None:
    assert defined(0.5, "why") == 0.5
    assert defined(float("nan"), "why") == Undefined("why")
    assert as_float(0.5) == 0.5
    assert np.isnan(as_float(Undefined("why")))


@pytest.mark.parametrize("distinct", [1, 500, 1 << 16, 70_000])
def test_rows_that_tie_keep_their_order(distinct: int, rng: np.random.Generator) -> None:
    ranks = rng.integers(0, distinct, 80_000)
    assert (rising(ranks) == np.argsort(ranks, kind="stable")).all()
