from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from data_synth.statistics import Statistics


def test_total_of_the_parts(world_of: Any, blocks_of: Any) -> None:
    world, blocks = world_of("small"), blocks_of(2, "small")
    parts = [Statistics.of(world, block) for block in blocks]
    before = parts[0].counts["click"].copy()
    actual = Statistics.total(parts)
    np.testing.assert_array_equal(parts[0].counts["click"], before)  # nothing is changed in place
    scores = np.concatenate([block.scores for block in blocks]).astype(np.float64)
    assert actual.rows == len(scores)
    np.testing.assert_allclose(actual.correlation, np.corrcoef(scores.T), atol=1e-12)
    for name in world.plan.tasks:
        labelled = sum(int(block.labelled[name].sum()) for block in blocks)
        assert actual.counts[name].sum() == labelled
    np.testing.assert_array_equal(actual.counts["stay"], actual.counts["click"])


def test_save_and_load(world_of: Any, blocks_of: Any, tmp_path: Path) -> None:
    actual = Statistics.of(world_of("small"), blocks_of(1, "small")[0])
    actual.save(tmp_path / "part.npz")
    again = Statistics.load(tmp_path / "part.npz")
    assert again.rows == actual.rows
    np.testing.assert_array_equal(again.sums, actual.sums)
    np.testing.assert_array_equal(again.products, actual.products)
    assert again.counts.keys() == actual.counts.keys()
    for name, counts in actual.counts.items():
        np.testing.assert_array_equal(again.counts[name], counts)


def test_a_single_row_has_no_spread_and_no_warning() -> None:
    one = Statistics(1, np.array([2.0, 3.0]), np.outer([2.0, 3.0], [2.0, 3.0]), {})
    assert np.isfinite(one.correlation).all()
