"""What stands for the score of an arm that predicts no numbers on a seed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Scores = dict[int, dict[str, float]]
"""Seed -> task, or task and metric, -> score."""


def fill_collapses(
    scores: Mapping[str, Scores], constants: Mapping[str, float | None]
) -> dict[str, dict[str, int]]:
    """Fills in the scores that an arm lacks on a seed where another has one; arm -> name -> seeds.

    The worst score stands for them: the lowest of all runs, or that of a constant. A name that a
    run does not list was not measured.

    Args:
        scores: by arm; NaN where they are undefined.
        constants: name -> the score of a constant, where it is known.
    """
    collapsed: dict[str, dict[str, int]] = {arm: {} for arm in scores}
    for name, constant in constants.items():
        runs = [(a, s, one) for a, own in scores.items() for s, one in own.items() if name in one]
        known = {seed for _, seed, one in runs if np.isfinite(one[name])}
        finite = [one[name] for *_, one in runs if np.isfinite(one[name])]
        worst = min([*finite, *([] if constant is None else [constant])], default=float("nan"))
        for arm, seed, one in runs:
            if seed in known and not np.isfinite(one[name]):
                one[name] = worst
                collapsed[arm][name] = collapsed[arm].get(name, 0) + 1
    return collapsed
