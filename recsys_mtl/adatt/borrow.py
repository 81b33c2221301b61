"""Borrowing of labels: receivers short of labelled rows, and donors related to them.

A receiver's own expert learns, through throw-away heads, to predict its donors' labels too:
`L += λ · scarcity_i · Σ_j |w_ij| L_j(head_ij)`. Where no task is scarce or related, all is 0.

Shapes: T tasks, C classes. Entry (i, j) is what receiver i borrows of donor j.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_SCARCE = 0.25
_RELATED = 0.3
_NEAR_BEST = 0.5


def labelled_rows(counts: Sequence[Sequence[float]]) -> Tensor:
    """(T,) float32: how many rows a task is known of; `counts` as in `effective_labels`."""
    return torch.tensor([float(sum(task)) for task in counts], dtype=torch.float32)


def effective_labels(counts: Sequence[Sequence[float]]) -> Tensor:
    """(T,) float32: how many labels a task has to learn from.

    Args:
        counts: for each task the labels of every class, or one number, the labelled rows, for a
            task without classes (regression, retrieval).

    Returns:
        The labelled rows where there are no classes; twice the smaller class for two; for more,
        twice the labels outside of the largest class, and no more than all of them (which for two
        classes is the same).
    """
    labels = []
    for task in counts:
        total = float(sum(task))
        labels.append(total if len(task) < 2 else min(2 * (total - max(task)), total))
    return torch.tensor(labels, dtype=torch.float32)


def receivers(labels: Tensor) -> Tensor:
    """(T,) bool: below a quarter of the median over all tasks."""
    return labels < _limit(labels)


def scarcity(labels: Tensor) -> Tensor:
    """(T,) in [0, 1]: `1 − n_i / (¼ median)` for receivers, 0 for all others."""
    limit = _limit(labels)
    short = 1 - labels / torch.where(limit > 0, limit, torch.ones_like(limit))
    return torch.where(receivers(labels), short, torch.zeros_like(short))


def donors(correlation: Tensor, effective: Tensor, receiving: Tensor) -> Tensor:
    """Donor weights `w_ij ∝ sign(corr_ij) √n_j`, rows of absolute value 1 in sum.

    A receiver's donors are the tasks with more effective labels than it has, with |correlation|
    above 0.3 and above half of the largest |correlation| among those. A task with no more labels
    adds little, least of all a complement: it has the same labels, negated.

    The sign is that of the labels' relation. A separate head for the pair absorbs it, so its loss
    counts by |w_ij|; callers that share a head between donors negate the labels of negative ones.

    Args:
        correlation: (T, T) in [−1, 1]; pairs with several columns are not negative.
        effective: (T,) effective labels.
        receiving: (T,) bool.

    Returns:
        (T, T), zero rows for tasks that receive nothing and for receivers without a related task.
    """
    richer = (effective > effective.unsqueeze(1)).to(correlation.device)  # (i, j): j than i
    others = correlation.masked_fill(~richer, 0.0)
    chosen = near_best(others.abs()) & receiving.unsqueeze(1)
    weights = torch.where(chosen, effective.sqrt(), torch.zeros_like(others))
    total = weights.sum(1, keepdim=True)
    weights = weights / torch.where(total > 0, total, torch.ones_like(total))
    return weights * others.sign()


def near_best(size: Tensor) -> Tensor:
    """(T, T) bool: |correlation| (T, T) above 0.3 and above half of the largest in its row."""
    return (size > _RELATED) & (size > _NEAR_BEST * size.amax(1, keepdim=True))


def _limit(labels: Tensor) -> Tensor:
    """A quarter of the median; that of an even number of tasks lies between the middle two."""
    return _SCARCE * labels.float().quantile(0.5)
