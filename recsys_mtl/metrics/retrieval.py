"""Metrics of the item to retrieve from a catalogue.

They need only the rank of the true item in the full catalogue, so the scores (rows × items) are
never held for all rows: ranks are computed batch by batch, the metrics once over all of them.

Index 0 is the unknown item. It is not part of the catalogue; a row whose true item is unknown
counts as a miss.
"""

from __future__ import annotations

import numpy as np

from recsys_mtl.metrics.weighing import Array, Weighing, mean, prepare_mean

_CHUNK = 4_000_000  # scores compared at once


def recall_at_k(ranks: Array, weights: Array, *, k: int) -> float:
    """Share of rows whose true item is among the first k."""
    return mean(np.asarray(ranks <= k, np.float64), weights)


def mrr(ranks: Array, weights: Array) -> float:
    """Mean of 1 / rank over the full catalogue; a miss counts 0."""
    return mean(1 / np.asarray(ranks, np.float64), weights)


def prepare_mrr(ranks: Array) -> Weighing:
    """`mrr` as a function of the weights."""
    return prepare_mean(1 / np.asarray(ranks, np.float64))


def true_item_ranks(scores: Array, labels: Array) -> Array:
    """The rank of each row's true item, from 1; infinite where the label is 0 or NaN.

    Ties count against the model: every item that does not score less than the true one ranks
    before it, so equal (or NaN) scores for all items give the last rank, not the first.

    Args:
        scores: (B, I) of all items, column 0 being the unknown item.
        labels: (B,) item indices.

    Returns:
        (B,) float64.
    """
    known = labels > 0  # false for NaN
    true = np.where(known, labels, 0).astype(np.int64)
    items = scores.shape[1] - 1
    ranks = np.full(len(labels), np.inf)
    step = max(1, _CHUNK // max(items, 1))
    for start in range(0, len(labels), step):
        rows = slice(start, start + step)
        block = scores[rows]
        of_true = np.take_along_axis(block, true[rows, None], 1)
        ranks[rows] = items - (block[:, 1:] < of_true).sum(1)
    ranks[~known] = np.inf
    return ranks
