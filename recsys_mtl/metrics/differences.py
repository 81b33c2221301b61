"""Statistics of paired runs: differences to the reference with intervals, corrected p, a verdict.

Every number is in points: a score times 100. A pair is the same seed: same data, same initial
weights, same order of rows. Intervals, detectable difference and verdict are of one level; where p
is corrected over several tests, the detectable difference is that of the strictest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.special import nctdtrinc, stdtr, stdtrit

from recsys_mtl.metrics.bootstrap import LEVEL
from recsys_mtl.metrics.weighing import Floats

Verdict = Literal["helps", "hurts", "no difference that matters", "not decided"]
_POWER = 0.8
_COUNTS = np.arange(2, 1001)
_LEAST = 0.05
_NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An arm minus the reference, over paired seeds; NaN where there are fewer than two.

    Attributes:
        pairs: seeds that both have.
        mean: in points; NaN without a pair.
        low: of the interval by Student's t.
        high: likewise.
        p: of the paired t test against 0, two-sided.
        adjusted: p by Holm's step-down (Holm 1979), over what `corrected` was given.
        wins: seeds on which the arm is better.
        losses: seeds on which it is worse.
        detectable: smallest true difference that so many seeds call `helps` with power 0.8.
        needed: pairs that would call a true difference of twice what matters so with power 0.8;
            None where nothing matters less, or more than 1,000 would be needed.
    """

    pairs: int
    mean: float
    low: float = _NAN
    high: float = _NAN
    p: float = _NAN
    adjusted: float = _NAN
    wins: int
    losses: int
    detectable: float = _NAN
    needed: int | None = None


def difference(
    values: Floats, *, level: float = LEVEL, matters: float = 0.0, tests: int = 1
) -> Difference:
    """Of paired differences (n,) in points; values that are not finite are ignored.

    Args:
        values: a pair each.
        level: of the interval; a verdict errs in 1 − `level` of the cases at most.
        matters: smallest difference that matters, at least 0.
        tests: that p will be `corrected` over; power is that of p below (1 − level) / `tests`.
    """
    values = values[np.isfinite(values)]
    count = len(values)
    mean = float(values.mean()) if count else _NAN
    plain = Difference(
        pairs=count, mean=mean, wins=int((values > 0).sum()), losses=int((values < 0).sum())
    )
    if count < 2:
        return plain
    sd = float(values.std(ddof=1))
    error = sd / float(np.sqrt(count))
    reach = _critical(count, level)
    strict = 1 - (1 - level) / tests
    p = float(2 * stdtr(count - 1, -abs(mean) / error)) if error > 0 else float(mean == 0)
    return replace(
        plain,
        low=mean - reach * error,
        high=mean + reach * error,
        p=p,
        adjusted=p,
        detectable=matters + _noncentrality(count, strict) * error,
        needed=_needed(sd, strict, matters) if matters else None,
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


def verdict(one: Difference, *, alpha: float, matters: float) -> tuple[Verdict, str]:
    """One word, and a sentence with it.

    Args:
        one: its interval is of the level 1 − `alpha`.
        alpha: the adjusted p of an arm that helps or hurts is below it.
        matters: the interval of an arm that helps or hurts is beyond it; within it on both sides,
            the difference is shown not to matter.

    Example:
        >>> import numpy as np
        >>> from recsys_mtl.metrics.differences import difference, verdict
        >>> gains = difference(np.array([0.4, 0.5, 0.3, 0.6, 0.4]), level=0.995, matters=0.1)
        >>> print(verdict(gains, alpha=0.005, matters=0.1)[1])
        helps: +0.44 points [+0.15, +0.73], p = 0.00099
    """
    if not np.isfinite(one.p):
        return "not decided", "not decided: fewer than two pairs"
    numbers = f"{one.mean:+.2f} points [{one.low:+.2f}, {one.high:+.2f}], p = {one.p:.2g}"
    beyond = one.low > matters or one.high < -matters
    if beyond and one.adjusted < alpha:
        word: Verdict = "helps" if one.mean > 0 else "hurts"
        return word, f"{word}: {numbers}"
    if -matters <= one.low and one.high <= matters:
        return "no difference that matters", f"no difference that matters: {numbers}"
    return "not decided", (
        f"not decided by {one.pairs} seeds: {numbers}; {one.detectable:.2f} points would be found "
        "in 80 of 100 tries"
    )


def _critical(count: int, level: float) -> float:
    """Of Student's t, two-sided."""
    return float(stdtrit(count - 1, (1 + level) / 2))


def _noncentrality(count: int, level: float) -> float:
    """Of the t statistic of `count` pairs that is beyond `_critical` with power 0.8."""
    return float(nctdtrinc(count - 1, 1 - _POWER, _critical(count, level)))


def _needed(sd: float, level: float, matters: float) -> int | None:
    enough = _noncentralities(level) * sd <= matters * np.sqrt(_COUNTS)
    return int(_COUNTS[enough.argmax()]) if enough.any() else None


@lru_cache
def _noncentralities(level: float) -> Floats:
    return np.array([_noncentrality(count, level) for count in _COUNTS.tolist()])
