"""What paired runs say: differences to the reference with intervals, corrected p, a verdict.

Every number is in points: a score times 100. A pair is the same seed: same data, same initial
weights, same order of rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Verdict = Literal["helps", "hurts", "no difference shown"]
_LEVEL, _POWER = 0.95, 0.8
_DRAWS = 9999
_LEAST = 0.05


@dataclass(frozen=True)
class Difference:
    """An arm minus the reference, over paired seeds.

    Attributes:
        pairs: seeds that both have.
        mean: in points.
        low: of the 95 % interval by Student's t; NaN for fewer than two pairs.
        high: likewise.
        bootstrap: 95 % interval of the percentile bootstrap over seeds.
        p: of the paired t test, two-sided.
        adjusted: p by Holm's step-down over the tasks of an arm (Holm 1979).
        wins: seeds on which the arm is better.
        losses: seeds on which it is worse.
        detectable: smallest true difference that so many seeds find in 80 of 100 tries at 5 %.
    """

    pairs: int
    mean: float
    low: float
    high: float
    bootstrap: tuple[float, float]
    p: float
    adjusted: float
    wins: int
    losses: int
    detectable: float


def difference(values: Floats, *, seed: int = 0) -> Difference:
    """Of paired differences (n,) in points; not finite ones are left out."""
    values = values[np.isfinite(values)]
    count = len(values)
    if count < 2:
        mean = float(values.mean()) if count else float("nan")
        unknown = float("nan")
        edges = unknown, unknown
        return Difference(
            count, mean, *edges, edges, unknown, unknown, int((values > 0).sum()),
            int((values < 0).sum()), unknown,
        )  # fmt: skip
    error = float(values.std(ddof=1) / np.sqrt(count))
    reach = float(stats.t.ppf((1 + _LEVEL) / 2, count - 1))
    mean = float(values.mean())
    p = float(2 * stats.t.sf(abs(mean) / error, count - 1)) if error > 0 else float(mean == 0)
    return Difference(
        pairs=count,
        mean=mean,
        low=mean - reach * error,
        high=mean + reach * error,
        bootstrap=_bootstrap(values, seed),
        p=p,
        adjusted=p,
        wins=int((values > 0).sum()),
        losses=int((values < 0).sum()),
        detectable=(reach + float(stats.t.ppf(_POWER, count - 1))) * error,
    )


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p values (Holm 1979); NaN stays and does not count."""
    values = np.asarray(p, np.float64)
    adjusted = np.full(len(values), np.nan)
    order = [i for i in np.argsort(values, kind="stable") if np.isfinite(values[i])]
    highest = 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - place) * values[index]))
        adjusted[index] = highest
    return [float(value) for value in adjusted]


def relative_gain(arm: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """Δm: the mean over tasks of the relative gain in percent (Maninis et al. 2019).

    Tasks with a reference score below 0.05 are left out: relative to that, noise is large.
    """
    gains = [
        100 * (arm[task] - value) / abs(value)
        for task, value in reference.items()
        if abs(value) >= _LEAST and np.isfinite(value) and np.isfinite(arm[task])
    ]
    return float(np.mean(gains)) if gains else float("nan")


def verdict(found: Difference, alpha: float) -> tuple[Verdict, str]:
    """One plain word, and the sentence around it."""
    if not np.isfinite(found.p):
        return "no difference shown", "no difference can be shown: fewer than two pairs"
    interval = f"{found.mean:+.2f} points [{found.low:+.2f}, {found.high:+.2f}], p = {found.p:.2g}"
    if found.p < alpha and found.mean != 0:
        word: Verdict = "helps" if found.mean > 0 else "hurts"
        return word, f"{word}: {interval}"
    most = max(abs(found.low), abs(found.high))
    return "no difference shown", f"no difference shown larger than {most:.2f} points: {interval}"


def _bootstrap(values: Floats, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(_DRAWS, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)
