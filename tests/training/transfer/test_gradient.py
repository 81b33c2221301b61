from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_mtl.data.batch import Batch
from recsys_mtl.model.device import autocast
from recsys_mtl.training.step import TrainingStep
from recsys_mtl.training.transfer import GradientTransfer

CPU = torch.device("cpu")
Expected = tuple[dict[str, Tensor], Tensor, list[Tensor], Tensor]


@pytest.fixture
def on(step_of: Callable[..., TrainingStep]) -> Callable[..., TrainingStep]:
    """A step that has reached the dynamic phase; strong, so that a factor is seen."""

    def make(*, model: Any = None, training: Any = None, **adatt: Any) -> TrainingStep:
        optimizer = {"optimizer": {"clip_norm": None}}
        step = step_of(
            {"mechanism": "gradient", "strength": 2.0, "threshold": -1.0} | adatt,
            model=model,
            training=optimizer | (training or {}),
        )
        step.start_epoch(1)
        return step

    return make


def one_by_one(step: TrainingStep, batch: Batch, precision: Any = "fp32") -> Expected:
    """Without adaTT: every gradient, that at the cut, each task's on each shared expert and each
    task's at the cut through each shared expert (E, T, B, P)."""
    network = step.network
    (leaf,) = leaves = network.cut(batch).leaf()
    with autocast(precision, CPU):
        outputs = network.forward_from(leaves, batch)
    items = network.candidates(leaves, batch)
    losses, counts = step.losses(outputs.logits, batch.labels, batch.weights, items)
    total = step.balancer.total(losses, counts > 0) + outputs.penalty
    total.backward(retain_graph=True)
    plain = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    assert leaf.grad is not None
    at_cut = leaf.grad.clone()
    common = outputs.mixed.common
    assert common is not None
    on_experts: list[list[Tensor]] = []
    through: list[list[Tensor]] = []
    for loss in losses:
        network.zero_grad()
        loss.backward(retain_graph=True)
        blocks = network.shared_expert_parameters()
        on_experts.append(
            [torch.cat([p.grad[i].flatten() for p, i in b if p.grad is not None]) for b in blocks]
        )
        (cotangent,) = torch.autograd.grad(loss, common, retain_graph=True)
        through.append([])
        for expert in range(len(common)):
            alone = torch.zeros_like(cotangent)
            alone[expert] = cotangent[expert]
            through[-1] += torch.autograd.grad(common, leaf, alone, retain_graph=True)
    network.zero_grad()
    by_expert = [torch.stack(of) for of in zip(*on_experts, strict=True)]
    return plain, at_cut, by_expert, torch.stack([torch.stack(t) for t in through], 1)


def stepped(step: TrainingStep, batch: Batch) -> tuple[Tensor, Tensor]:
    """One step; the gradient at the cut and the (E, T) factors that were used."""
    cuts: list[Tensor] = []
    usual = step.network.forward_from

    def forward_from(leaves: Sequence[Tensor], batch: Batch, *, by_task: bool = False) -> Any:
        cuts.extend(leaves)
        return usual(leaves, batch, by_task=by_task)

    step.network.forward_from = forward_from  # type: ignore[method-assign]
    assert step(batch).updated
    transfer, gradient = step.transfer, cuts[-1].grad
    assert isinstance(transfer, GradientTransfer)
    assert gradient is not None
    factors = transfer.adatt.coefficients(torch.ones(4, dtype=torch.bool))
    assert factors is not None
    return gradient, factors.expand(2, 4)


@pytest.mark.parametrize("scope", ["all", "expert"])
@pytest.mark.parametrize("architecture", ["ple", "mmoe", "shared_bottom"])
def test_each_expert_learns_from_its_own_mixture_of_task_gradients(
    on: Callable[..., TrainingStep], rows: Batch, architecture: str, scope: str
) -> None:
    model = {"architecture": architecture}
    step = on(model=model, measure={"scope": scope})
    plain, at_cut, by_expert, through = one_by_one(on(model=model), rows)
    gradient, factors = stepped(step, rows)
    assert factors.min() > 1
    assert torch.equal(factors[0], factors[1]) == (scope == "all")
    for e, block in enumerate(step.network.shared_expert_parameters()):
        actual = torch.cat([p.grad[i].flatten() for p, i in block if p.grad is not None])
        torch.testing.assert_close(actual, factors[e] @ by_expert[e])
        assert not torch.allclose(actual, by_expert[e].sum(0), rtol=0.1)
    for name, parameter in step.network.named_parameters():
        if "shared_experts" not in name and name in plain:
            torch.testing.assert_close(parameter.grad, plain[name], msg=name)
    # Below the experts: the same mixture of what comes through them, the rest as ever.
    extra = torch.einsum("et,etbp->bp", factors - 1, through)
    torch.testing.assert_close(gradient, at_cut + extra)
    assert not torch.allclose(gradient, at_cut, rtol=0.1)


def test_bf16_agrees(on: Callable[..., TrainingStep], rows: Batch) -> None:
    step = on(training={"precision": "bf16"})
    _, _, by_expert, _ = one_by_one(on(), rows)
    _, factors = stepped(step, rows)
    for e, block in enumerate(step.network.shared_expert_parameters()):
        actual = torch.cat([p.grad[i].flatten() for p, i in block if p.grad is not None])
        want = factors[e] @ by_expert[e]
        # As in test_probe: some ten roundings of 2^-9 in a row.
        assert (actual - want).norm() < 0.05 * want.norm()


def test_the_outputs_do_not_change(on: Callable[..., TrainingStep], rows: Batch) -> None:
    step = on()
    embedded = step.network.cut(rows).values()
    before = step.network.forward_from(embedded, rows).logits
    assert step.transfer is not None
    step.transfer.before(rows, embedded, torch.ones(4, dtype=torch.bool))
    after = step.network.forward_from(embedded, rows).logits
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_warm_up_has_no_factors(on: Callable[..., TrainingStep], rows: Batch) -> None:
    step = on()
    (level,) = step.network.ple.levels
    step.start_epoch(0)
    step(rows)
    assert level.shared_factors is None
    step.start_epoch(1)
    step(rows)
    assert isinstance(level.shared_factors, Tensor)
    assert level.shared_factors.shape == (4, 2)
    assert not level.shared_factors.requires_grad


def test_an_absent_task_gives_nothing(on: Callable[..., TrainingStep], rows: Batch) -> None:
    step = on()
    step(rows)
    labels = rows.labels.clone()
    labels[:, 2] = torch.nan
    embedded = step.network.cut(rows).values()
    assert step.transfer is not None
    step.transfer.before(rows, embedded, (~labels.isnan()).any(0))
    (level,) = step.network.ple.levels
    assert level.shared_factors[2].tolist() == [1.0, 1.0]
    assert (level.shared_factors[[0, 1, 3]] > 1).all()


def test_measures_what_the_factors_have_not_touched(
    on: Callable[..., TrainingStep], rows: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With logit transfer a task's gradient comes by two mixtures, each with its own factor."""
    transfers = [{"source": "click", "target": "value"}]
    step = on(model={"logit_transfer": transfers}, measure={"interval": 1, "rows": None})
    step.set_rate(0.0)
    step(rows)  # leaves its factors behind
    taken: list[list[Tensor]] = []
    assert step.transfer is not None
    monkeypatch.setattr(
        step.transfer.adatt, "observe", lambda seen: taken.append(list(seen.gradients()))
    )
    step(rows)
    untouched = on(model={"logit_transfer": transfers})
    _, _, by_expert, _ = one_by_one(untouched, rows)
    torch.testing.assert_close(taken[0], by_expert)
