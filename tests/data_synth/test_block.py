"""Blocks: what their rows hold, and that the planned correlations are in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri

from data_synth import presets
from data_synth.block import ROWS, RowBlock, draw_block
from data_synth.relations import relation_matrix
from tests.marks import slow_except

BLOCKS = 4
PAIRS = 7 * 28 + 105 + 10  # presets of 8 tasks, the 15 scored ones of bank16, the 5 of the demo
BOUND = float(-ndtri(1e-4 / PAIRS / 2))  # Bonferroni: one false alarm in 10,000 data sets


def scores_z(blocks: list[RowBlock], planned: np.ndarray) -> np.ndarray:
    """(T, T) z of the scores' correlations; standard errors from sums over customers.

    The influence of a row on the correlation of a and b is a b - rho (a^2 + b^2) / 2; rows of a
    customer are correlated, customers are not.
    """
    scores = np.concatenate([block.scores for block in blocks]).astype(np.float64)
    customer = np.concatenate([block.rows["customer_id"].to_numpy() for block in blocks])
    tasks, rows = scores.shape[1], len(scores)
    _, customer = np.unique(customer, return_inverse=True)
    squares = np.stack([np.bincount(customer, f**2) for f in scores.T])
    actual = np.zeros((tasks, tasks))
    for a in range(tasks):
        for b in range(a):
            product = np.bincount(customer, scores[:, a] * scores[:, b])
            influence = product - planned[a, b] * (squares[a] + squares[b]) / 2
            actual[a, b] = influence.sum() / np.sqrt((influence**2).sum())
    assert rows == BLOCKS * ROWS
    return actual


@pytest.mark.parametrize("name", slow_except(["demo", "conflict"], presets()))
def test_scores_have_the_planned_correlations(name: str, blocks_of: Any, plan_of: Any) -> None:
    planned = relation_matrix(plan_of(name))
    assert np.abs(scores_z(blocks_of(BLOCKS, name), planned)).max() < BOUND


def test_the_measure_would_see_a_wrong_relation(blocks_of: Any, plan_of: Any) -> None:
    """Five hundredths from the plan are far outside the bound."""
    planned = relation_matrix(plan_of("aligned"))
    assert np.abs(scores_z(blocks_of(BLOCKS, "aligned"), planned - 0.05)).max() > 2 * BOUND


def test_scores_are_standardised(blocks_of: Any) -> None:
    """Mean 0 and variance 1 over independent rows."""
    scores = np.concatenate([b.scores for b in blocks_of(BLOCKS, "kinds")]).astype(np.float64)
    count = len(scores)
    assert np.abs(scores.mean(axis=0)).max() < 4.5 / np.sqrt(count)
    square = scores**2
    assert (np.abs(square.mean(axis=0) - 1) < 4.5 * square.std(axis=0) / np.sqrt(count)).all()


def test_ids_go_on_from_block_to_block(blocks_of: Any) -> None:
    first, second = blocks_of(2, "small")
    assert first.rows["row_id"].to_numpy().tolist() == list(range(ROWS))
    assert second.rows["row_id"][0].as_py() == ROWS
    ids = [block.rows["customer_id"].to_numpy() for block in (first, second)]
    assert ids[0].max() < ids[1].min()  # a customer is in one block
    assert len(np.unique(ids[0])) == pytest.approx(ROWS / 6, rel=0.02)  # few have no row


def test_columns(blocks_of: Any) -> None:
    [block] = blocks_of(1, "small")
    assert block.rows.column_names == [
        "row_id", "customer_id", "day", "day_number", "weekday",
        "age", "income", "tenure_months", "household", "education", "region",
        "number_01", "number_02", "number_03", "category_01", "item_01", "recent_01",
        "click", "buy", "stay", "segment", "spend", "shop",
    ]  # fmt: skip
    assert block.truth.column_names == ["row_id", *block.rows.column_names[-6:]]
    assert block.truth["row_id"] == block.rows["row_id"]
    for name in block.truth.column_names:
        assert block.truth[name].null_count == 0  # the truth is known where the label is not


def test_time(blocks_of: Any) -> None:
    [block] = blocks_of(1, "small")
    days = block.rows["day"].to_pylist()
    number = block.rows["day_number"].to_numpy()
    assert (days[0] - days[1]).days == number[0] - number[1]
    assert min(days).isoformat() == "2024-01-01"
    assert max(days).isoformat() == "2024-03-01"  # the 61st day of a leap year
    weekday = block.rows["weekday"].to_numpy()
    assert [day.weekday() for day in days[:200]] == weekday[:200].tolist()


def test_demographics_are_the_customers(blocks_of: Any) -> None:
    [block] = blocks_of(1, "small")
    names = ["age", "income", "tenure_months", "household", "education", "region"]
    rows = block.rows.select(["customer_id", *names]).to_pandas()
    kinds = rows.fillna({"age": -1, "income": -1}).groupby("customer_id", observed=True).nunique()
    assert (kinds == 1).all().all()
    assert rows.groupby("customer_id").size().max() > 1


def test_without_columns(blocks_of: Any) -> None:
    bare = ("features.numeric=0", "features.categorical=[]", "features.lists=[]")
    [block] = blocks_of(1, "small", *bare, "features.items=[]", "features.demographics=false")
    assert block.rows.column_names[:6] == [
        "row_id", "customer_id", "day", "day_number", "weekday", "click",
    ]  # fmt: skip
    assert np.isfinite(block.scores).all()


@pytest.mark.slow  # many rows
@pytest.mark.parametrize("days", [14, 16])
def test_many_tasks_in_few_days_where_time_does_not_act(days: int, blocks_of: Any) -> None:
    [block] = blocks_of(1, "bank16", f"period.days={days}", "score.time=0.0", "features.items=[]")
    assert np.isfinite(block.scores).all()


def test_the_true_logit_is_that_of_the_target(world_of: Any, blocks_of: Any) -> None:
    world, [block] = world_of("small"), blocks_of(1, "small")
    linear = world.targets["click"].linear(block.scores[:, 0])
    np.testing.assert_allclose(block.truth["click"].to_numpy(), linear, rtol=1e-6)
    np.testing.assert_array_equal(block.truth["stay"].to_numpy(), -block.truth["click"].to_numpy())


def test_a_block_is_a_function_of_plan_and_number(world_of: Any, blocks_of: Any) -> None:
    again = draw_block(world_of("small"), 1)
    assert again.rows == blocks_of(2, "small")[1].rows
    other = draw_block(world_of("small", "seed=1"), 1)
    assert other.rows["number_01"] != again.rows["number_01"]
