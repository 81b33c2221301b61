"""Losses of tasks behind others, against slow literal versions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit

from recsys_mtl.losses import TaskLoss, TaskLosses, Through
from recsys_mtl.losses.entire_space import counterfactual

NAN = math.nan
CLICKS = [1, 0, 1, 1, 0, NAN, 1, 0]
JOINT = [1, 0, 0, NAN, 0, NAN, 1, 0]
WEIGHTS = [1.0, 2.0, 0.5, 3.0, 1.5, 1.0, 2.5, 0.0]
CLIP = 0.2


def example(members: int = 1) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """Logits of click and buy, (k B, 1), labels (B, 2) and given (k B, 2)."""
    g = torch.Generator().manual_seed(members)
    rows = members * len(CLICKS)
    logits = {
        name: (2 * torch.randn(rows, 1, generator=g)).requires_grad_() for name in ("click", "buy")
    }
    labels = torch.tensor([CLICKS, JOINT]).T
    return logits, labels, torch.randn(rows, 2, generator=g).requires_grad_()


def entropy(logit: float, label: float) -> float:
    chance = expit(logit)
    return -label * np.log(chance) - (1 - label) * np.log(1 - chance)


def literal(how: Through, logits: dict[str, np.ndarray], given: np.ndarray, members: int) -> float:
    """The loss of `buy`, row by row."""
    sums = {"joint": 0.0, "observed": 0.0, "ips": 0.0, "dr": 0.0}
    all_rows = clicked_rows = 0.0
    for member in range(members):
        for b, (click, joint, weight) in enumerate(zip(CLICKS, JOINT, WEIGHTS, strict=True)):
            row = member * len(CLICKS) + b
            if math.isnan(joint):
                continue
            all_rows += weight
            sums["joint"] += weight * entropy(logits["buy"][row, 0], joint)
            o, propensity = click == 1, max(expit(logits["click"][row, 0]), CLIP)
            error = entropy(given[row, 0], joint) if o else 0.0
            imputed = entropy(given[row, 0], expit(given[row, 1]))
            if o:
                clicked_rows += weight
                sums["observed"] += weight * error
                sums["ips"] += weight * error / propensity
            estimate = imputed + o * (error - imputed) / propensity
            sums["dr"] += weight * (estimate + o * (error - imputed) ** 2 / propensity)
    loss = sums["joint"] / all_rows if how.entire_space else 0.0
    if how.method != "none":
        return loss + how.weight * sums[how.method] / all_rows
    return loss if how.entire_space else sums["observed"] / clicked_rows


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("entire_space", [True, False])
@pytest.mark.parametrize("method", ["none", "ips", "dr"])
def test_losses_are_those_of_the_papers(method: str, entire_space: bool, members: int) -> None:
    how = Through("click", entire_space, method, weight=0.7, clip=CLIP)
    logits, labels, given = example(members)
    every = TaskLosses(dict.fromkeys(logits, TaskLoss.named("bce")), {"buy": how})
    conditional = {"buy": given if method == "dr" else given[:, :1]}
    losses, counts = every(logits, labels, torch.tensor(WEIGHTS), None, conditional)
    plain = {name: logit.detach().double().numpy() for name, logit in logits.items()}
    expected = literal(how, plain, given.detach().double().numpy(), members)
    assert losses[1].item() == pytest.approx(expected, rel=1e-5)
    alone = not entire_space and method == "none"
    assert counts.tolist() == [6, 3 if alone else 5]
    joint, _ = every(logits, labels, torch.tensor(WEIGHTS))  # as in evaluation
    assert joint[0].item() == losses[0].item()
    assert joint[1].item() == pytest.approx(
        literal(Through("click"), plain, given.detach().numpy(), members), rel=1e-5
    )


@pytest.mark.parametrize("keep", [1.0, 0.25])
@pytest.mark.parametrize("entire_space", [True, False])
@pytest.mark.parametrize("method", ["none", "ips", "dr"])
def test_parts_of_the_rows_add_up_to_the_losses(
    method: str, entire_space: bool, keep: float
) -> None:
    how = Through("click", entire_space, method, weight=0.7, clip=CLIP)
    logits, labels, given = example(1)
    given = given if method == "dr" else given[:, :1]
    loss = replace(TaskLoss.named("bce"), keep=keep)
    every, weights = TaskLosses(dict.fromkeys(logits, loss), {"buy": how}), torch.tensor(WEIGHTS)
    expected, counts = every(logits, labels, weights, None, {"buy": given})
    totals = every.totals(labels, weights).float()
    assert torch.equal(every.totals(labels, weights)[0] > 0, counts > 0)
    parts = [
        every(
            {name: logit[rows] for name, logit in logits.items()},
            labels[rows],
            weights[rows],
            None,
            {"buy": given[rows]},
            totals,
        )
        for rows in (slice(0, None, 2), slice(1, None, 2))
    ]
    assert torch.allclose(sum(part for part, _ in parts), expected)
    assert sum(count for _, count in parts).tolist() == counts.tolist()


def term(method: str, given: torch.Tensor, exposure: torch.Tensor, **changes: torch.Tensor):
    _, labels, _ = example()
    values = {"parent": labels[:, 0], "labels": labels[:, 1], "weights": torch.tensor(WEIGHTS)}
    return counterfactual(given, exposure, *(values | changes).values(), clip=CLIP, method=method)


@pytest.mark.parametrize("method", ["ips", "dr"])
def test_the_propensity_gets_no_gradient_and_unknown_rows_count_for_nothing(method: str) -> None:
    logits, _, given = example()
    values = given.detach().clone()
    values[3], values[5] = math.inf, NAN
    values.requires_grad_()
    loss = term(method, values, logits["click"])
    assert loss.item() == pytest.approx(term(method, given, logits["click"]).item(), rel=1e-6)
    loss.backward()
    assert logits["click"].grad is None
    assert values.grad is not None
    assert not values.grad[[3, 5]].any()


def test_the_tower_of_dr_learns_from_clicked_rows_alone_the_prediction_from_all() -> None:
    logits, labels, given = example()
    term("dr", given, logits["click"]).backward()
    clicked, others = [0, 2, 6], [1, 4]
    assert given.grad is not None
    assert given.grad[clicked].all()
    assert given.grad[others, 0].all()
    assert not given.grad[others, 1].any()
    # of the prediction: sigmoid - (imputed + o (label - imputed) / p), the doubly robust label
    weights, imputed = torch.tensor(WEIGHTS), given[:, 1].sigmoid()
    o = (labels[:, 0] == 1) & ~labels[:, 1].isnan()
    inverse = torch.where(o, 1 / logits["click"][:, 0].sigmoid().clamp_min(CLIP), 0)
    label = imputed + inverse * (labels[:, 1].nan_to_num() - imputed)
    known = torch.where(labels[:, 1].isnan(), 0, weights)
    expected = known * (given[:, 0].sigmoid() - label) / known.sum()
    assert given.grad[:, 0].tolist() == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.parametrize("method", ["ips", "dr"])
def test_extreme_logits_and_no_labelled_row_stay_finite(method: str) -> None:
    given = torch.tensor([[80.0, -80.0]] * len(CLICKS), requires_grad=True)
    exposure = torch.full((len(CLICKS), 1), -500.0)
    loss = term(method, given, exposure)
    loss.backward()
    assert loss.isfinite()
    assert given.grad is not None
    assert given.grad.isfinite().all()
    nothing = torch.full((len(CLICKS),), NAN)
    assert term(method, given, exposure, labels=nothing).item() == 0.0
