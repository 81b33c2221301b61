"""Transforms of numbers; B rows in, no NaN. Pure functions."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from recsys_mtl.columns.numbers import Floats

MAX_SCORE = 5.2
"""Largest absolute normal score of `normal_score`: the quantile at 1e-7."""
MAX_SD = 10.0
"""Where standardised values, and the outer pieces of `piecewise_coordinate`, are clipped."""


def signed_log1p(x: Floats) -> Floats:
    """sign(x) · log(1 + |x|)."""
    return np.copysign(np.log1p(np.abs(x)), x)


def signed_expm1(x: Floats) -> Floats:
    """Inverse of `signed_log1p`; values beyond float64 become its largest number."""
    largest = np.log(np.finfo(np.float64).max)
    return np.copysign(np.expm1(np.minimum(np.abs(x), largest)), x)


def standardize(x: Floats, mean: float, sd: float) -> Floats:
    """(x − mean) / sd, clipped at ±`MAX_SD`; `sd` is positive."""
    return np.clip((x - mean) / sd, -MAX_SD, MAX_SD)


def normal_score(x: Floats, quantiles: Floats) -> Floats:
    """Normal score of the empirical distribution function through evenly spaced `quantiles`.

    Values that several quantiles share get the middle of their range. Clipped at ±`MAX_SCORE`.
    """
    levels = np.linspace(0.0, 1.0, len(quantiles))
    upper = np.interp(x, quantiles, levels)
    lower = -np.interp(-x, -quantiles[::-1], -levels[::-1])
    scores: Floats = ndtri(np.clip((lower + upper) / 2, 0.0, 1.0))
    return np.clip(scores, -MAX_SCORE, MAX_SCORE)


def filled_edges(values: Floats, weights: Floats, bins: int) -> Floats:
    """Strictly rising edges of `bins` bins, fewer only where there are fewer distinct values.

    Each value that holds a bin's share of the weight or more is an edge, and the next larger value
    another: quantiles alone would all fall on them (of a column that is zero in nine of ten rows a
    tenth of the edges is left). Quantiles of the remaining values are the other edges.

    Args:
        values: (N,), at least one.
        weights: (N,) positive.
        bins: at least 2.
    """
    distinct, index = np.unique(values, return_inverse=True)
    if len(distinct) <= bins + 1:
        return distinct
    mass = np.bincount(index, weights)
    heaviest = np.argsort(-mass, kind="stable")[: (bins - 1) // 2]
    heavy = heaviest[mass[heaviest] >= mass.sum() / bins]
    last = len(distinct) - 1
    edges = np.union1d([0, last], np.concatenate([heavy, np.minimum(heavy + 1, last)]))
    while (missing := bins + 1 - len(edges)) > 0:
        light = np.setdiff1d(np.arange(len(distinct)), edges)
        below = np.cumsum(mass[light])
        levels = below[-1] * np.arange(1, missing + 1) / (missing + 1)
        edges = np.union1d(edges, light[np.searchsorted(below, levels)])
    filled: Floats = distinct[edges]
    return filled


def piecewise_coordinate(x: Floats, edges: Floats) -> Floats:
    """(B,) where values are on the axis of bins: 2.5 is the middle of the bin from edge 2 to 3.

    The first and last bin extend up to `MAX_SD` widths outwards. `edges` rise strictly.
    """
    last = len(edges) - 2
    low = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, last)
    with np.errstate(over="ignore"):  # far beyond a bin of next to no width: clipped like infinity
        coordinate = low + (x - edges[low]) / np.diff(edges)[low]
    return np.clip(coordinate, -MAX_SD, last + MAX_SD)
