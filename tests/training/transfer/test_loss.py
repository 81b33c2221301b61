from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_mtl.data.batch import Batch
from recsys_mtl.losses import BALANCERS
from recsys_mtl.model import Outputs
from recsys_mtl.training.step import TrainingStep
from recsys_mtl.training.transfer import LossTransfer, StepView

WEIGHTS = {"click": 1.0, "segment": 2.0, "value": 0.5, "brand": 3.0}
DYNAMIC = {"mechanism": "loss", "warmup_epochs": 1, "freeze_epoch": 3, "threshold": -1.0}


@pytest.fixture
def on(config_of: Callable[..., Any], step_of: Callable[..., TrainingStep]) -> Callable[..., Any]:
    """A step in the dynamic phase, with fixed weights, a trained balancer and some W."""

    def make(balancing: str = "fixed", **adatt: Any) -> TrainingStep:
        tasks = config_of().model_dump(exclude_unset=True)["tasks"]
        tasks = {name: task | {"weight": WEIGHTS[name]} for name, task in tasks.items()}
        sections = {"tasks": tasks, "balancing": {"name": balancing}}
        optimizer = {"optimizer": {"clip_norm": None}}
        step = step_of(DYNAMIC | adatt, **sections, training=optimizer)
        assert isinstance(step.transfer, LossTransfer)
        with torch.no_grad():
            for parameter in step.balancer.parameters():
                parameter.copy_(torch.tensor([0.3, -0.4, 0.1, 0.2]))
            step.transfer.adatt.W.copy_(torch.linspace(-1, 1, 16).view(4, 4))
        step.start_epoch(1)
        return step

    return make


def seen(step: TrainingStep, batch: Batch) -> tuple[StepView, Tensor, Outputs]:
    """The step up to the transfer: its view and the total without it."""
    outputs = step.network.forward_from(step.network.cut(batch).values(), batch)
    losses, counts = step.losses(
        outputs.logits, batch.labels, batch.weights, step.network.candidates([batch.weights], batch)
    )
    total = step.balancer.total(losses, counts > 0)
    return StepView(batch, outputs, losses, counts > 0, step.balancer), total, outputs


@pytest.mark.parametrize("strength", [0.1, 4.0])
@pytest.mark.parametrize("balancing", BALANCERS)
def test_adds_the_bounded_shares_of_weighted_losses(
    on: Callable[..., TrainingStep], rows: Batch, balancing: str, strength: float
) -> None:
    """Raw loss, fixed weight, balancing, adaTT: total + Σ min(λ Σ w L̃, max_ratio L̃)."""
    step = on(balancing, strength=strength, max_ratio=0.5)
    view, total, _ = seen(step, rows)
    leaf = view.losses.detach().clone().requires_grad_()
    (counts_for,) = torch.autograd.grad(step.balancer.combine(leaf, view.present), leaf)
    weighted = counts_for * view.losses.detach()
    transfer = step.transfer
    assert isinstance(transfer, LossTransfer)
    weights = transfer.adatt.weights(view.present)[0].detach()
    bound = 0.5 * weighted
    expected = torch.minimum(strength * weights @ weighted, bound)
    assert (expected < bound).any() if strength < 1 else (expected == bound).any()
    terms = transfer.task_terms(view)
    assert terms is not None
    term = terms.sum()
    torch.testing.assert_close(total + term, total + expected.sum())
    assert term > 0


@pytest.mark.parametrize("balancing", BALANCERS)
def test_the_balancer_learns_as_without(
    on: Callable[..., TrainingStep], rows: Batch, balancing: str
) -> None:
    step = on(balancing)
    view, total, _ = seen(step, rows)
    assert step.transfer is not None
    terms = step.transfer.task_terms(view)
    assert terms is not None
    term = terms.sum()
    learned = list(step.balancer.parameters())
    assert bool(learned) == (balancing in ("uncertainty", "imtl_l"))
    before = {k: v.clone() for k, v in step.balancer.state_dict().items()}
    for parameter in learned:
        (plain,) = torch.autograd.grad(total, parameter, retain_graph=True)
        (actual,) = torch.autograd.grad(total + term, parameter, retain_graph=True)
        assert torch.equal(actual, plain)
    assert all(torch.equal(v, before[k]) for k, v in step.balancer.state_dict().items())


@pytest.mark.parametrize("balancing", ["fixed", "uncertainty", "stch"])
def test_the_step_descends_on_the_complete_total(
    on: Callable[..., TrainingStep], rows: Batch, balancing: str
) -> None:
    step, twin = on(balancing), on(balancing)
    assert step(rows).updated
    assert twin.transfer is not None
    twin.transfer.before(rows, twin.network.cut(rows).values(), torch.ones(4, dtype=torch.bool))
    view, total, outputs = seen(twin, rows)
    terms = twin.transfer.task_terms(view)
    assert terms is not None
    term = terms.sum()
    (total + outputs.penalty + term).backward()
    pairs = zip(step.network.named_parameters(), twin.network.named_parameters(), strict=True)
    for (name, parameter), (_, other) in pairs:
        if other.grad is not None:
            torch.testing.assert_close(parameter.grad, other.grad, msg=name)
    learned = step.transfer.adatt.W.grad  # type: ignore[union-attr]
    torch.testing.assert_close(learned, twin.transfer.adatt.W.grad)
    assert (learned != 0).any()


def test_without_a_bound_it_is_a_reweighting(on: Callable[..., TrainingStep], rows: Batch) -> None:
    step = on(max_ratio=None)
    view, total, _ = seen(step, rows)
    assert isinstance(step.transfer, LossTransfer)
    terms = step.transfer.task_terms(view)
    assert terms is not None
    term = terms.sum()
    factors = step.transfer.adatt.coefficients(view.present)
    assert factors is not None
    fixed = torch.tensor(list(WEIGHTS.values()))
    torch.testing.assert_close(total + term, (factors[0] * fixed * view.losses).sum())
    (expert,) = [p for p, _ in step.network.shared_expert_parameters()[0][:1]]
    (actual,) = torch.autograd.grad(total + term, expert, retain_graph=True)
    (want,) = torch.autograd.grad((factors[0] * fixed * view.losses).sum(), expert)
    torch.testing.assert_close(actual, want)


def test_w_learns_in_the_dynamic_phase_only(on: Callable[..., TrainingStep], rows: Batch) -> None:
    step = on()
    assert step.transfer is not None
    w = step.transfer.adatt.W
    for epoch, learns in ((0, False), (1, True), (2, True), (3, False), (4, False)):
        step.start_epoch(epoch)
        before = w.detach().clone()
        step.set_rate(1.0)
        assert step(rows).updated
        assert (w.grad is not None) == learns
        assert torch.equal(w, before) == (not learns)


def test_w_is_fixed_without_learn_weights(on: Callable[..., TrainingStep], rows: Batch) -> None:
    step = on(learn_weights=False)
    assert step.transfer is not None
    before = step.transfer.adatt.W.detach().clone()
    assert step(rows).updated
    assert torch.equal(step.transfer.adatt.W, before)
