from __future__ import annotations

import numpy as np

from data_synth.targets.base import with_noise


def test_without_noise_nothing_is_drawn(rng: np.random.Generator) -> None:
    scores, before = np.arange(5.0), rng.bit_generator.state
    assert with_noise(scores, 0.0, rng) is scores
    assert rng.bit_generator.state == before


def test_a_share_of_rows_takes_anothers_score(rng: np.random.Generator) -> None:
    scores = np.arange(50_000.0)
    actual = with_noise(scores, 0.3, rng)
    changed = actual != scores
    assert abs(changed.mean() - 0.3) < 4.5 * np.sqrt(0.21 / 50_000)
    assert np.isin(actual, scores).all()
    assert abs(np.corrcoef(actual[changed], scores[changed])[0, 1]) < 4.5 / np.sqrt(changed.sum())
