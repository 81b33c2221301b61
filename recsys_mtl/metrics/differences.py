"""Statistics of paired runs: differences to the reference with intervals, corrected p, a verdict.

Every number is in points: a score times 100. A pair is the same seed: same data, same initial
weights, same order of rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import stdtr, stdtrit

from recsys_mtl.metrics.bootstrap import LEVEL, interval
from recsys_mtl.metrics.weighing import Floats

Verdict = Literal["helps", "hurts", "no difference shown"]
_POWER = 0.8
_DRAWS = 9999
_LEAST = 0.05
_NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An arm minus the reference, over paired seeds; NaN where there are fewer than two.

    Attributes:
        pairs: seeds that both have.
        mean: in points; NaN without a pair.
        low: of the 95 % interval by Student's t.
        high: likewise.
        bootstrap: 95 % interval of the percentile bootstrap over seeds.
        p: of the paired t test, two-sided.
        adjusted: p by Holm's step-down over the tasks of an arm (Holm 1979).
        wins: seeds on which the arm is better.
        losses: seeds on which it is worse.
        detectable: smallest true difference that these seeds detect with power 0.8 at 5 %.
    """

    pairs: int
    mean: float
    low: float = _NAN
    high: float = _NAN
    bootstrap: tuple[float, float] = (_NAN, _NAN)
    p: float = _NAN
    adjusted: float = _NAN
    wins: int
    losses: int
    detectable: float = _NAN


def difference(values: Floats, *, seed: int = 0) -> Difference:
    """Of paired differences (n,) in points; values that are not finite are ignored."""
    values = values[np.isfinite(values)]
    count = len(values)
    mean = float(values.mean()) if count else _NAN
    plain = Difference(
        pairs=count, mean=mean, wins=int((values > 0).sum()), losses=int((values < 0).sum())
    )
    if count < 2:
        return plain
    error = float(values.std(ddof=1) / np.sqrt(count))
    reach = float(stdtrit(count - 1, (1 + LEVEL) / 2))
    p = float(2 * stdtr(count - 1, -abs(mean) / error)) if error > 0 else float(mean == 0)
    return replace(
        plain,
        low=mean - reach * error,
        high=mean + reach * error,
        bootstrap=_bootstrap(values, seed),
        p=p,
        adjusted=p,
        detectable=(reach + float(stdtrit(count - 1, _POWER))) * error,
    )


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p values (Holm 1979); NaN stays and is ignored."""
    values = np.asarray(p, np.float64)
    adjusted = np.full(len(values), np.nan)
    order = [i for i in np.argsort(values, kind="stable") if np.isfinite(values[i])]
    highest = 0.0
    for step, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - step) * values[index]))
        adjusted[index] = highest
    return [float(value) for value in adjusted]


def corrected(differences: Mapping[str, Difference]) -> dict[str, Difference]:
    """The same by name, p adjusted over all of them."""
    adjusted = holm([one.p for one in differences.values()])
    pairs = zip(differences.items(), adjusted, strict=True)
    return {name: replace(one, adjusted=p) for (name, one), p in pairs}


def relative_gain(arm: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """Δm: the mean over tasks of the relative gain in percent (Maninis et al. 2019).

    Tasks with a reference score below 0.05 are ignored: relative to that, noise is large.
    """
    gains = [
        100 * (arm[task] - value) / abs(value)
        for task, value in reference.items()
        if abs(value) >= _LEAST and np.isfinite(value) and np.isfinite(arm[task])
    ]
    return float(np.mean(gains)) if gains else float("nan")


def verdict(one: Difference, alpha: float) -> tuple[Verdict, str]:
    """One word, and a sentence with it."""
    if not np.isfinite(one.p):
        return "no difference shown", "no difference can be shown: fewer than two pairs"
    numbers = f"{one.mean:+.2f} points [{one.low:+.2f}, {one.high:+.2f}], p = {one.p:.2g}"
    if one.p < alpha and one.mean != 0:
        word: Verdict = "helps" if one.mean > 0 else "hurts"
        return word, f"{word}: {numbers}"
    most = max(abs(one.low), abs(one.high))
    return "no difference shown", f"no difference shown larger than {most:.2f} points: {numbers}"


def _bootstrap(values: Floats, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(_DRAWS, len(values)))].mean(axis=1)
    edges = interval(float(values.mean()), means)
    return edges.low, edges.high
