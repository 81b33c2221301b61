from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data_synth.labels import as_arrow, draw_labels


@pytest.fixture(scope="module")
def rows(blocks_of: Any) -> pa.Table:
    return blocks_of(1, "small")[0].rows


def test_types_and_order(rows: pa.Table) -> None:
    types = {name: str(rows.schema.field(name).type) for name in rows.column_names[-6:]}
    assert types == {
        "click": "int8",
        "buy": "int8",
        "stay": "int8",
        "segment": "dictionary<values=string, indices=int16, ordered=0>",
        "spend": "float",
        "shop": "int32",
    }


def test_the_funnel_and_the_complement(rows: pa.Table) -> None:
    click, stay = rows["click"].to_numpy(), rows["stay"].to_numpy()
    np.testing.assert_array_equal(stay, 1 - click)
    np.testing.assert_array_equal(rows["buy"].is_null().to_numpy(), click != 1)
    assert set(rows["buy"].drop_null().to_pylist()) == {0, 1}


def test_a_hidden_parent_hides_the_child(blocks_of: Any) -> None:
    override = ("tasks.click.labelled=0.5", "tasks.stay.labelled=0.5")
    rows = blocks_of(1, "small", *override)[0].rows
    click = rows["click"].to_numpy(zero_copy_only=False)  # NaN where null
    np.testing.assert_array_equal(rows["buy"].is_null().to_numpy(), click != 1)
    stay = rows["stay"].to_numpy(zero_copy_only=False)
    both = ~np.isnan(click) & ~np.isnan(stay)
    np.testing.assert_array_equal(stay[both], 1 - click[both])
    shares = np.array([both.mean(), (~np.isnan(stay)).mean(), (~np.isnan(click)).mean()])
    se = np.sqrt(0.25 / len(click))
    assert (np.abs(shares - [0.25, 0.5, 0.5]) < 4.5 * se).all()  # drawn apart from each other


def test_a_complement_of_a_funnel(world_of: Any, rng: np.random.Generator) -> None:
    world = world_of("small", "tasks.leave={kind: complement, of: buy}")
    scores = rng.standard_normal((2000, 5)).astype(np.float32)
    labels = draw_labels(world, scores, rng)
    (buy, nulls), (leave, leave_nulls) = labels["buy"], labels["leave"]
    np.testing.assert_array_equal(nulls, leave_nulls)
    np.testing.assert_array_equal(leave[~nulls], 1 - buy[~nulls])


def test_order_of_tasks_does_not_matter_to_a_funnel(world_of: Any, rng: Any) -> None:
    """A child may stand before its parent."""
    world = world_of("small", "tasks.early={kind: binary, rate: 0.5, only_after: late}",
                     "tasks.late={kind: binary, rate: 0.3}")  # fmt: skip
    scores = rng.standard_normal((2000, 7)).astype(np.float32)
    labels = draw_labels(world, scores, rng)
    assert list(labels) == list(world.plan.tasks)
    np.testing.assert_array_equal(labels["early"][1], labels["late"][0] != 1)


def test_class_names_are_those_of_the_indices(world_of: Any, rng: Any) -> None:
    world = world_of("small")
    labels = draw_labels(world, rng.standard_normal((500, 5)).astype(np.float32), rng)
    array = as_arrow(world, labels)["segment"]
    values, nulls = labels["segment"]
    names = world.targets["segment"].names
    assert names == ["class_000", "class_001", "class_002"]
    expected = [None if null else names[value] for value, null in zip(values, nulls, strict=True)]
    assert array.to_pylist() == expected
