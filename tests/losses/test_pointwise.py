from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import pytest
import torch
import torch.nn.functional as F

from recsys_mtl.losses import Candidates, pointwise
from recsys_mtl.losses.candidates import FULL_SOFTMAX_ITEMS

GENERATOR_SEED = 3


def randn(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(GENERATOR_SEED + sum(shape))
    return torch.randn(*shape, generator=generator)


def test_bce_is_minus_log_probability_of_the_label() -> None:
    logits, labels = torch.tensor([0.3, -1.2, 4.0]), torch.tensor([1.0, 0.0, 0.0])
    p = torch.sigmoid(logits)
    expected = -torch.log(torch.where(labels == 1, p, 1 - p))
    torch.testing.assert_close(pointwise.bce_with_logits(logits, labels), expected)


def test_focal_by_hand() -> None:
    # p = sigmoid(log 3) = 3/4; the positive loses 0.25 (1/4)^2 log(4/3), the negative
    # 0.75 (3/4)^2 log 4.
    logits = torch.full((2,), math.log(3.0))
    loss = pointwise.focal(logits, torch.tensor([1.0, 0.0]), gamma=2.0, alpha=0.25)
    expected = [0.25 * 0.25**2 * math.log(4 / 3), 0.75 * 0.75**2 * math.log(4)]
    torch.testing.assert_close(loss, torch.tensor(expected))


def test_focal_with_gamma_zero_is_weighted_cross_entropy() -> None:
    logits, labels = randn(7, 3), (randn(3, 7).T > 0).float()
    loss = pointwise.focal(logits, labels, gamma=0.0, alpha=0.5)
    torch.testing.assert_close(loss, 0.5 * pointwise.bce_with_logits(logits, labels))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_focal_is_finite_at_extreme_logits(gamma: float, dtype: torch.dtype) -> None:
    logits = torch.tensor([-6e4, -200.0, 0.0, 200.0, 6e4], dtype=dtype, requires_grad=True)
    for label in (0.0, 1.0):
        loss = pointwise.focal(logits, torch.full((5,), label), gamma=gamma, alpha=0.25)
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        assert loss.isfinite().all()
        assert gradient.isfinite().all()


def test_huber_is_quadratic_then_linear() -> None:
    loss = pointwise.huber(torch.tensor([0.5, 3.0, -3.0]), torch.zeros(3), delta=2.0)
    torch.testing.assert_close(loss, torch.tensor([0.125, 4.0, 4.0]))


def test_mse() -> None:
    loss = pointwise.mse(torch.tensor([1.0, -2.0]), torch.tensor([3.0, -2.0]))
    torch.testing.assert_close(loss, torch.tensor([4.0, 0.0]))


def test_cross_entropy_is_minus_log_softmax() -> None:
    logits, labels = randn(5, 4), torch.tensor([0, 3, 1, 1, 2])
    expected = -torch.log_softmax(logits, 1)[torch.arange(5), labels]
    torch.testing.assert_close(pointwise.cross_entropy(logits, labels.float()), expected)


def slow_info_nce(
    query: torch.Tensor,
    labels: torch.Tensor,
    items: torch.Tensor,
    candidates: list[int],
    chance: Mapping[int, float] = MappingProxyType({}),
) -> list[float]:
    losses = []
    for q, label in zip(query, labels, strict=True):
        score = {c: float(F.cosine_similarity(q, items[c], dim=0)) / 0.2 for c in candidates}
        score = {c: s - math.log(chance.get(c, 1.0)) for c, s in score.items()}
        losses.append(math.log(sum(math.exp(s) for s in score.values())) - score[int(label)])
    return losses


def test_info_nce_small_catalogue_is_a_full_softmax() -> None:
    query, items, labels = randn(5, 3), randn(11, 3), torch.tensor([1.0, 4, 4, 10, 0])
    loss = pointwise.info_nce(query, labels, items, temperature=0.2)
    expected = slow_info_nce(query, labels, items, list(range(11)))
    torch.testing.assert_close(loss, torch.tensor(expected))


@pytest.mark.parametrize("corrected", [False, True])
def test_info_nce_large_catalogue_uses_the_distinct_items_of_the_batch(corrected: bool) -> None:
    table = randn(FULL_SOFTMAX_ITEMS + 1, 3)
    query, index = randn(6, 3), torch.tensor([7, 2000, 0, 7, 7, 31])  # 0 is unlabelled
    shares = torch.linspace(0.001, 0.02, len(table)) if corrected else None
    items = Candidates.of(index, table, shares)
    known = index > 0
    loss = pointwise.info_nce(
        query[known], items.positions[known], items.vectors, items.log_q, temperature=0.2
    )
    chance = {} if shares is None else {c: 1 - (1 - float(shares[c])) ** 5 for c in (7, 31, 2000)}
    expected = slow_info_nce(query[known], index[known], table, [7, 31, 2000], chance)
    torch.testing.assert_close(loss, torch.tensor(expected))
    read = Candidates.read(index, table[index], shares)
    for one, other in zip(vars(items).values(), vars(read).values(), strict=True):
        assert one is None if other is None else torch.equal(one, other)


def test_info_nce_does_not_depend_on_lengths() -> None:
    query, items, labels = randn(4, 3), randn(6, 3), torch.tensor([1.0, 2, 0, 5])
    scaled = pointwise.info_nce(3 * query, labels, 5 * items, temperature=0.2)
    plain = pointwise.info_nce(query, labels, items, temperature=0.2)
    torch.testing.assert_close(scaled, plain)


def test_every_loss_is_float32_under_autocast() -> None:
    logits, labels = randn(6, 4).bfloat16(), torch.tensor([0.0, 1, 1, 0, 1, 0])
    column, exact = logits[:, 0], logits.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = [
            pointwise.bce_with_logits(column, labels),
            pointwise.focal(column, labels, gamma=2.0, alpha=0.25),
            pointwise.mse(column, labels),
            pointwise.huber(column, labels, delta=1.0),
            pointwise.cross_entropy(logits, labels),
            pointwise.info_nce(logits, labels, randn(9, 4), temperature=0.1),
        ]
    expected = [
        pointwise.bce_with_logits(exact[:, 0], labels),
        pointwise.focal(exact[:, 0], labels, gamma=2.0, alpha=0.25),
        pointwise.mse(exact[:, 0], labels),
        pointwise.huber(exact[:, 0], labels, delta=1.0),
        pointwise.cross_entropy(exact, labels),
        pointwise.info_nce(exact, labels, randn(9, 4), temperature=0.1),
    ]
    for loss, reference in zip(got, expected, strict=True):
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, reference)


def test_gradients_are_right() -> None:
    logits = randn(5, 3).double().requires_grad_()
    items = randn(7, 3).double().requires_grad_()
    labels = torch.tensor([0.0, 1, 1, 2, 0], dtype=torch.float64)
    binary = (randn(3, 5).T > 0).double()

    def all_losses(x: torch.Tensor, table: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (
            pointwise.focal(x, binary, gamma=1.5, alpha=0.3),
            pointwise.huber(x, binary, delta=0.7),
            pointwise.cross_entropy(x, labels),
            pointwise.info_nce(x, labels, table, temperature=0.5),
        )

    assert torch.autograd.gradcheck(all_losses, (logits, items))


def test_class_weights_multiply_the_losses_of_their_rows() -> None:
    logits, labels = randn(6), torch.tensor([1.0, 0, 1, 0, 0, 1])
    plain = pointwise.bce_with_logits(logits, labels)
    weighted = pointwise.bce_with_logits(logits, labels, positive_weight=3.0)
    expected = F.binary_cross_entropy_with_logits(
        logits, labels, pos_weight=torch.tensor(3.0), reduction="none"
    )
    torch.testing.assert_close(weighted, expected)
    assert torch.equal(weighted[labels == 0], plain[labels == 0])
    scores, classes, weights = randn(5, 3), torch.tensor([0, 2, 1, 2, 0]), (2.0, 1.0, 0.5)
    torch.testing.assert_close(
        pointwise.cross_entropy(scores, classes, class_weights=weights),
        F.cross_entropy(scores, classes, weight=torch.tensor(weights), reduction="none"),
    )
