"""How well predictions rank an amount: the normalised Gini coefficient."""

from __future__ import annotations

import numpy as np

from recsys_mtl.metrics.undefined import Metric, defined
from recsys_mtl.metrics.weighing import Array, Ranking, Weighing, dense_ranks


def normalized_gini(labels: Array, predictions: Array, weights: Array) -> Metric:
    """Gini coefficient of the amounts in the order of the predictions over that in their own order.

    The coefficient is twice the area between the Lorenz curve and the diagonal; equal predictions
    share their mean rank. 1 is the perfect order, 0 a random one, -1 the reverse; of labels 0 and 1
    it is 2 · AUC - 1 (Wang et al. 2019).

    Args:
        labels: (B,) amounts, or their true means.
        predictions: (B,) of any scale.
        weights: (B,), positive.
    """
    return defined(prepare_normalized_gini(labels, predictions)(weights), "all labels are equal")


def prepare_normalized_gini(labels: Array, predictions: Array) -> Weighing:
    """`normalized_gini` as a function of the weights."""
    amounts = np.asarray(labels, np.float64)
    rankings = [Ranking(dense_ranks(values)) for values in (predictions, labels)]
    in_order = [(ranking, amounts[ranking.order]) for ranking in rankings]

    def weigh(weights: Array) -> float:
        areas = []
        for ranking, values in in_order:
            own = np.asarray(weights, np.float64).take(ranking.order)
            areas.append(float((own * values) @ ranking.centred(own)))
        predicted, perfect = areas
        return predicted / perfect if perfect > 0 else float("nan")

    return weigh
