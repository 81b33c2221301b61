from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from recsys_mtl.data.batch import Batch
from recsys_mtl.training import shared_gradients
from recsys_mtl.training.step import TrainingStep
from recsys_mtl.training.transfer import Probe
from recsys_mtl.training.transfer import probe as module

FAST: dict[str, dict[str, Any]] = {
    "ple": {},
    "mmoe": {"architecture": "mmoe"},
    "shared_bottom": {"architecture": "shared_bottom"},
    "experts of unequal width": {
        "shared_experts": [
            {"kind": "mlp", "count": 3, "hidden": [9, 6]},
            {"kind": "cross", "count": 1, "width": 12},
        ]
    },
}
GENERIC: dict[str, dict[str, Any]] = {
    "two levels": {"levels": 2},
    "logit transfer": {"logit_transfer": [{"source": "click", "target": "value"}]},
}


def probe_of(step: TrainingStep, rows: int | None = None, precision: Any = "fp32") -> Probe:
    return Probe(step.network, step.losses, step.network.tasks, rows, precision)


def by_backward(step: TrainingStep, batch: Batch) -> list[Tensor]:
    """(T, d_e) of each shared expert, from one `.backward()` a task."""
    network = step.network.eval()
    outputs = network.forward_from(network.cut(batch).values(), batch)
    items = network.candidates([batch.weights], batch)
    losses, _ = step.losses(outputs.logits, batch.labels, batch.weights, items)
    rows = []
    for loss in losses:
        network.zero_grad()
        loss.backward(retain_graph=True)
        rows.append(
            [
                torch.cat([p.grad[i].flatten() for p, i in block if p.grad is not None])
                for block in network.shared_expert_parameters()
            ]
        )
    network.zero_grad()
    return [torch.stack(of) for of in zip(*rows, strict=True)]


@pytest.fixture
def generic(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every call of `task_gradients`."""
    calls: list[int] = []
    usual = shared_gradients.task_gradients
    monkeypatch.setattr(shared_gradients, "task_gradients", lambda *a: calls.append(1) or usual(*a))
    return calls


@pytest.mark.parametrize("name", [*FAST, *GENERIC])
def test_gradients_equal_a_backward_of_each_task(
    step_of: Callable[..., TrainingStep], rows: Batch, generic: list[int], name: str
) -> None:
    step = step_of(model=(FAST | GENERIC)[name] | {"dropout": 0.4, "tower_dropout": 0.4})
    embedded = step.network.cut(rows).values()
    assert step.network.training
    seen = probe_of(step).observation(rows, embedded)
    assert seen.gradients is not None
    gradients = seen.gradients()
    assert len(generic) == (name in GENERIC)
    assert step.network.training
    assert all(p.grad is None for p in step.network.parameters())
    expected = by_backward(step, rows)
    assert len(gradients) == len(expected) > 1
    for gradient, want in zip(gradients, expected, strict=True):
        assert (want != 0).any(1).all()
        torch.testing.assert_close(gradient, want)


def test_the_fast_way_equals_the_generic_one(
    step_of: Callable[..., TrainingStep],
    rows: Batch,
    generic: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels = rows.labels.clone()
    labels[:, 1] = torch.nan  # an absent task
    batch = replace(rows, labels=labels, weights=torch.linspace(0, 2, 40))
    step = step_of()
    embedded = step.network.cut(batch).values()

    def gradients() -> Any:
        seen = probe_of(step).observation(batch, embedded)
        assert seen.gradients is not None
        return seen.gradients()

    fast = gradients()
    monkeypatch.setattr(type(step.network), "tasks_are_separable", False)
    torch.testing.assert_close(fast, gradients())
    assert generic == [1]
    assert all((gradient[1] == 0).all() for gradient in fast)


@pytest.mark.parametrize("limit", [1, 7, 40, 99, None])
def test_rows_limit_what_is_looked_at(
    step_of: Callable[..., TrainingStep], rows: Batch, limit: int | None
) -> None:
    step = step_of()
    batch = replace(rows, weights=torch.linspace(0.5, 2, 40))
    seen = probe_of(step, limit).observation(batch, step.network.cut(batch).values())
    first = batch.select(torch.arange(min(limit or 40, 40)))
    labelled = ~first.labels.isnan()
    torch.testing.assert_close(seen.counts, first.weights @ labelled.float())
    assert seen.gradients is not None
    assert seen.inputs is not None
    assert seen.outputs is not None
    assert seen.residuals is not None
    want = torch.cat([*step.network.embed(first), first["x"]], 1)
    torch.testing.assert_close(seen.inputs(), want)
    assert {len(output) for output in seen.outputs()} == {first.num_rows}
    assert {len(residual) for residual in seen.residuals()} == {first.num_rows}
    if limit != 1:  # whose only row has no label
        torch.testing.assert_close(seen.gradients(), by_backward(step, first))


def test_fewer_rows_are_taken_on_any_device(
    step_of: Callable[..., TrainingStep], rows: Batch
) -> None:
    """`Batch.select` goes through NumPy and so is for the CPU."""
    far = torch.device("meta")
    embedded = [torch.empty(40, 12, device=far)]
    seen = probe_of(step_of(), 5).observation(rows.to(far), embedded)
    assert seen.inputs is not None
    assert seen.inputs().shape == (5, 15)
    assert seen.inputs().device == far


def test_bf16_agrees(step_of: Callable[..., TrainingStep], rows: Batch) -> None:
    step = step_of()
    embedded = step.network.cut(rows).values()
    full, half = (
        probe_of(step, precision=precision).observation(rows, embedded).gradients()  # type: ignore[misc]
        for precision in ("fp32", "bf16")
    )
    for actual, want in zip(half, full, strict=True):
        assert actual.dtype == torch.float32
        error = (actual - want).norm(dim=1) / want.norm(dim=1)
        # bf16 keeps 8 bits: each of some ten products and activations in a row is off by up to
        # 2^-9 of itself, the gradient by about 1 %; towers and gates are among them here.
        assert error.max() < 0.05


def test_outputs_are_logits_and_those_of_classes_are_centred(
    step_of: Callable[..., TrainingStep], rows: Batch
) -> None:
    step = step_of()
    embedded = step.network.cut(rows).values()
    seen = probe_of(step).observation(rows, embedded)
    assert seen.outputs is not None
    click, segment, value, brand = seen.outputs()
    logits = step.network.eval().forward_from(embedded, rows).logits
    torch.testing.assert_close(click, logits["click"])
    torch.testing.assert_close(value, logits["value"])
    torch.testing.assert_close(brand, logits["brand"])
    torch.testing.assert_close(segment.mean(1), torch.zeros(40))
    torch.testing.assert_close(segment.softmax(1), logits["segment"].softmax(1))
    assert not any(output.requires_grad for output in (click, segment, value, brand))


@pytest.mark.parametrize("weighted", [False, True])
def test_residuals_are_the_gradient_at_the_base_rate(
    step_of: Callable[..., TrainingStep], rows: Batch, weighted: bool
) -> None:
    """At the prediction of the labels' weighted frequencies alone."""
    weights = torch.linspace(0, 0.05, 40) if weighted else torch.ones(40)
    batch = replace(rows, weights=weights)
    step = step_of()
    seen = probe_of(step).observation(batch, step.network.cut(batch).values())
    assert seen.residuals is not None
    vectors = step.network.item_vectors("brand").detach()
    for residual, kind, labels in zip(
        seen.residuals(),
        ("click", "segment", "value", "brand"),
        batch.labels.unbind(1),
        strict=True,
    ):
        here = ~labels.isnan()
        known, mass = labels[here], weights[here]
        share = mass / mass.sum()
        classes = {"segment": 3, "brand": 6}.get(kind, 0)
        rates = (
            (F.one_hot(known.long(), classes) * share[:, None]).sum(0).log() if classes else None
        )
        start = (share * known).sum().expand(len(known), 1)
        if kind == "click":
            output = start.logit().requires_grad_()
            loss = F.binary_cross_entropy_with_logits(output[:, 0], known, reduction="none")
        elif kind == "segment":
            assert rates is not None
            output = rates.expand(len(known), 3).clone().requires_grad_()
            loss = F.cross_entropy(output, known.long(), reduction="none")
        elif kind == "value":
            output = start.clone().requires_grad_()
            loss = (output[:, 0] - known).square() / 2
        else:
            assert rates is not None
            output = torch.zeros(len(known), 8, requires_grad=True)
            scores = rates + output @ vectors.T
            loss = F.cross_entropy(scores, known.long(), reduction="none")
        (expected,) = torch.autograd.grad((mass * loss).sum(), output)
        torch.testing.assert_close(residual[here], expected, atol=1e-6, rtol=1e-5)
        assert (residual[~here] == 0).all()
        assert (expected != 0).any()


def test_residuals_know_the_base_rate_of_all_processes(
    step_of: Callable[..., TrainingStep], rows: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = step_of()
    halves = [rows.select(torch.arange(start, start + 20)) for start in (0, 20)]

    def residuals(batch: Batch) -> Tensor:
        seen = probe_of(step).observation(batch, step.network.cut(batch).values())
        assert seen.residuals is not None
        return torch.cat(list(seen.residuals()), 1)

    sent: list[Tensor] = []  # what each half would send, in order
    monkeypatch.setattr(module, "sum_over_processes", lambda t: sent.append(t) or t)
    for half in halves:
        residuals(half)
    sums = [one + other for one, other in zip(sent[:5], sent[5:], strict=True)]
    results = []
    for half in halves:
        received = iter(sums)
        monkeypatch.setattr(module, "sum_over_processes", lambda _, i=received: next(i))
        results.append(residuals(half))
    monkeypatch.undo()
    torch.testing.assert_close(torch.cat(results), residuals(rows))


def test_residuals_of_an_absent_task_and_of_unknown_items_are_zero(
    step_of: Callable[..., TrainingStep], rows: Batch
) -> None:
    labels = rows.labels.clone()
    labels[:, 0] = torch.nan
    labels[1:20, 3] = 0
    step = step_of()
    batch = replace(rows, labels=labels)
    seen = probe_of(step).observation(batch, step.network.cut(batch).values())
    assert seen.residuals is not None
    click, _, _, brand = seen.residuals()
    assert (click == 0).all()
    assert (brand[1:20] == 0).all()
    assert (brand[22:28] != 0).any(1).all()
    assert seen.counts.tolist() == [0, 34, 34, 34 - 17]  # rows 7 and 14 have no label
