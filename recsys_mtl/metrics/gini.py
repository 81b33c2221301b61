"""How well predictions rank an amount: the normalised Gini coefficient."""

from __future__ import annotations

from recsys_mtl.metrics.undefined import Metric, defined
from recsys_mtl.metrics.weighing import Array, Weighing, centred_ranks, dense_ranks


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
    own, predicted = dense_ranks(labels), dense_ranks(predictions)

    def weigh(weights: Array) -> float:
        amounts = weights * labels
        perfect = float(amounts @ centred_ranks(own, weights))
        if not perfect > 0:
            return float("nan")
        return float(amounts @ centred_ranks(predicted, weights)) / perfect

    return weigh
