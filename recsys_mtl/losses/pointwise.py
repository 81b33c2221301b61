"""Losses of single rows: pure functions, one value a row, no reduction.

Shapes: B rows, K classes, D embedding width, C items. Element-wise losses take any shape, so a
stack of tasks (B, T) goes through one call.

All of them compute in float32 (float64 stays float64), also under autocast: half precision
overflows in the exponentials and gives NaN elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Concatenate, ParamSpec

import torch
import torch.nn.functional as F
from torch import Tensor

_Rest = ParamSpec("_Rest")


def _in_float32(
    function: Callable[Concatenate[Tensor, Tensor, _Rest], Tensor],
) -> Callable[Concatenate[Tensor, Tensor, _Rest], Tensor]:
    """Casts prediction and label up to float32 at least and switches autocast off."""

    @wraps(function)
    def wrapped(
        prediction: Tensor, label: Tensor, /, *args: _Rest.args, **kwargs: _Rest.kwargs
    ) -> Tensor:
        dtype = torch.promote_types(prediction.dtype, torch.float32)
        with torch.autocast(prediction.device.type, enabled=False):
            return function(prediction.to(dtype), label.to(dtype), *args, **kwargs)

    return wrapped


@_in_float32
def bce_with_logits(logits: Tensor, labels: Tensor, *, positive_weight: float = 1.0) -> Tensor:
    """Binary cross-entropy of logits and labels in {0, 1}; any shape, same shape out.

    Args:
        logits: log-odds of the positive class.
        labels: 0 or 1, same shape.
        positive_weight: factor of the loss of positives.
    """
    losses = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return losses if positive_weight == 1 else losses * (1 + (positive_weight - 1) * labels)


@_in_float32
def focal(logits: Tensor, labels: Tensor, *, gamma: float, alpha: float) -> Tensor:
    """Focal loss, -α_t (1 - p_t)^γ log p_t (Lin et al. 2017, equation 5); any shape.

    Computed from log-sigmoids alone: value and gradient are finite for every logit.

    Args:
        logits: log-odds of the positive class.
        labels: 0 or 1, same shape.
        gamma: focusing parameter, not negative; 0 is the α-weighted cross-entropy.
        alpha: weight of positives; negatives weigh 1 - alpha.
    """
    toward_label = logits * (2 * labels - 1)  # p_t = sigmoid(toward_label)
    weight = alpha * labels + (1 - alpha) * (1 - labels)
    return -weight * torch.exp(gamma * F.logsigmoid(-toward_label)) * F.logsigmoid(toward_label)


@_in_float32
def cross_entropy(logits: Tensor, labels: Tensor, *, class_weights: Sequence[float] = ()) -> Tensor:
    """Softmax cross-entropy; logits (B, K), class indices (B,) → (B,); times a factor a class."""
    classes = labels.long()
    losses = F.cross_entropy(logits, classes, reduction="none")
    return losses * logits.new_tensor(class_weights)[classes] if class_weights else losses


@_in_float32
def mse(predictions: Tensor, labels: Tensor) -> Tensor:
    """Squared error; any shape."""
    return (predictions - labels).square()


@_in_float32
def huber(predictions: Tensor, labels: Tensor, *, delta: float) -> Tensor:
    """Huber loss: e²/2 within ±delta, delta (|e| - delta/2) beyond; any shape."""
    return F.huber_loss(predictions, labels, delta=delta, reduction="none")


NAMED: dict[str, Callable[..., Tensor]] = {
    "bce": bce_with_logits,
    "focal": focal,
    "mse": mse,
    "huber": huber,
}
"""Element-wise losses by the name that configs give them."""


@_in_float32
def poisson(logarithms: Tensor, labels: Tensor) -> Tensor:
    """Half the Poisson deviance, y log(y / μ) - y + μ with μ = exp(logarithm); any shape.

    It is the negative log-likelihood minus that of μ = y, and never negative.
    """
    return logarithms.exp() - labels * logarithms + torch.xlogy(labels, labels) - labels


@_in_float32
def zero_inflated_lognormal(outputs: Tensor, labels: Tensor, *, least_spread: float) -> Tensor:
    """Negative log-likelihood of amounts (Wang, Liu & Miao 2019, equation 2), never negative.

    Cross-entropy of any amount; for an amount y > 0 also log σ + (log y - μ)² / 2σ² - log σ₀: the
    density of log y over the largest that it can have, at log y = μ and σ = σ₀.

    Args:
        outputs: (B, 3) logits of any amount, μ, and the inverse softplus of σ - σ₀.
        labels: (B,) amounts, not negative.
        least_spread: σ₀.

    Returns:
        (B,).
    """
    logits, mean, raw = outputs.unbind(1)
    some = labels > 0
    spread = least_spread + F.softplus(raw)
    distance = torch.where(some, labels, 1).log() - mean
    of_amount = (spread / least_spread).log() + distance.square() / (2 * spread.square())
    return bce_with_logits(logits, some.to(logits)) + torch.where(some, of_amount, 0)


@_in_float32
def info_nce(
    query: Tensor,
    positions: Tensor,
    items: Tensor,
    log_q: Tensor | None = None,
    *,
    temperature: float,
) -> Tensor:
    """InfoNCE (van den Oord et al. 2018, equation 4) of a query and its item.

    Scores are cosine similarities over `temperature`; both vectors are normalised here. Where the
    items are those of a batch, frequent ones are negatives more often than others: `log_q` is
    subtracted from the scores (Yi et al. 2019, "Sampling-bias-corrected neural modeling for large
    corpus item recommendations", section 3).

    Args:
        query: (B, D).
        positions: (B,) of each row's item; every row counts, so leave unlabelled rows out.
        items: (C, D), those that compete, each once.
        log_q: (C,) logarithms of how likely each is to be among them; None: no correction.
        temperature: divides the similarities, positive.

    Returns:
        (B,); zero for all rows for a single item.
    """
    candidates = F.normalize(items.to(query.dtype), dim=1)
    scores = F.normalize(query, dim=1) @ candidates.T / temperature
    scores = scores if log_q is None else scores - log_q.to(query.dtype)
    return F.cross_entropy(scores, positions.long(), reduction="none")
