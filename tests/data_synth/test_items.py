from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_synth.items import Items
from data_synth.zipf import Zipf


def moments(items: Items) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the effects under the ids' probabilities."""
    effects = items.act(np.arange(items.zipf.ids, dtype=np.int32)).astype(np.float64)
    chances = items.zipf.chances()
    return chances @ effects, effects.T @ (chances[:, None] * effects)


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 16), st.floats(0.0, 2.0), st.floats(-0.06, 0.99),
    st.sampled_from([4, 5, 150, 600]),
)  # fmt: skip
def test_effects_have_the_planned_moments_exactly(
    seed: int, tasks: int, exponent: float, rho: float, factor: int
) -> None:
    relation = np.full((tasks, tasks), rho) + (1 - rho) * np.eye(tasks)
    zipf = Zipf(factor * tasks, exponent)
    items = Items.draw(zipf, relation, np.random.default_rng(seed))
    mean, spread = moments(items)
    # float32 effects, of which rare ids have large ones
    np.testing.assert_allclose(mean, 0.0, atol=2e-6)
    np.testing.assert_allclose(spread, relation, atol=5e-6)


def test_a_singular_relation(rng: np.random.Generator) -> None:
    relation = np.array([[1.0, -1.0], [-1.0, 1.0]])
    items = Items.draw(Zipf(1000, 1.1), relation, rng)
    np.testing.assert_allclose(items.effects[:, 0], -items.effects[:, 1], atol=1e-6)


def test_frequent_ids_have_effects_of_their_own(rng: np.random.Generator) -> None:
    items = Items.draw(Zipf(5000, 1.1), np.eye(2), rng)
    ranks = np.array([0, 1, 2047, 2048, 4096], dtype=np.int32)
    effects = items.act(ranks)
    assert len({tuple(row) for row in effects.tolist()}) == 3
    np.testing.assert_array_equal(effects[3], effects[0])  # a type's rare ids share its effect


def test_idle_items() -> None:
    assert (
        Items.idle(Zipf(3, 1.0), 4).act(np.array([0, 2], dtype=np.int32)).tolist()
        == [[0.0] * 4] * 2
    )


@pytest.mark.parametrize("override", ["features.items=[2]", "features.items=[2, 3]"])
def test_few_ids_are_welcome_where_items_do_not_act(
    world_of: object, blocks_of: object, override: str
) -> None:
    [block] = blocks_of(1, "small", "score.items=0.0", override)  # type: ignore[operator]
    assert np.isfinite(block.scores).all()
    assert block.scores.var(axis=0) == pytest.approx([1.0] * 5, abs=0.15)  # 2,700 customers
