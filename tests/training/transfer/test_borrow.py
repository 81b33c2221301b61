from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recsys_mtl.data.batch import Batch
from recsys_mtl.training.step import TrainingStep
from recsys_mtl.training.transfer import Borrow, BorrowSettings, StepView
from recsys_mtl.training.transfer import borrow as module

CLICK, SEGMENT, VALUE, BRAND = range(4)
KEPT = 8


def scarce(rows: Batch, *tasks: int) -> Batch:
    """The same rows with the first eight labels of the given tasks alone."""
    labels = rows.labels.clone()
    for task in tasks:
        labelled = torch.nonzero(~labels[:, task].isnan()).flatten()
        labels[labelled[KEPT:], task] = torch.nan
    return replace(rows, labels=labels)


@pytest.fixture
def few(rows_of: Callable[[int], Batch]) -> Batch:
    """Rows of which few have the value."""
    return scarce(rows_of(100), VALUE)


@pytest.fixture
def on(step_of: Callable[..., TrainingStep]) -> Callable[..., tuple[TrainingStep, Borrow]]:
    """A step after one warm-up step on the batch, with heads that have learned something."""

    def make(batch: Batch, donors: Any = "uniform", **rest: Any) -> tuple[TrainingStep, Borrow]:
        adatt = {"mechanism": "borrow", "freeze_epoch": 3, "borrow": {"donors": donors}}
        step = step_of(adatt, **rest)
        assert isinstance(step.transfer, Borrow)
        step.start_epoch(0)
        assert step(batch).updated
        step.start_epoch(1)
        with torch.no_grad():
            step.transfer.head.normal_(generator=torch.Generator().manual_seed(0))
        return step, step.transfer

    return make


def view_of(step: TrainingStep, batch: Batch) -> tuple[StepView, Tensor]:
    (features,) = leaves = step.network.cut(batch).leaf()
    outputs = step.network.forward_from(leaves, batch)
    losses, counts = step.losses(
        outputs.logits, batch.labels, batch.weights, step.network.candidates(leaves, batch)
    )
    return StepView(batch, outputs, losses, counts > 0, step.balancer), features


def expected_labels(batch: Batch) -> list[float]:
    """Labelled rows by NumPy."""
    click, segment, value, brand = batch.labels.numpy().T
    return [*(float((~np.isnan(c)).sum()) for c in (click, segment, value)), float(sum(brand > 0))]


@pytest.mark.parametrize(("scarce", "borrows"), [("missing", set()), ("rare", {"click"})])
def test_a_rare_class_borrows_by_request_alone(
    step_of: Callable[..., TrainingStep],
    rows_of: Callable[[int], Batch],
    scarce: str,
    borrows: set[str],
) -> None:
    """All rows are labelled, and four of a hundred clicks are positive."""
    batch = rows_of(100)
    labels = batch.labels.nan_to_num(1.0)
    labels[:, CLICK] = (torch.arange(100) < 4).float()
    borrow = {"donors": "uniform", "scarce": scarce}
    step = step_of({"mechanism": "borrow", "borrow": borrow})
    step.start_epoch(0)
    step(replace(batch, labels=labels))
    step.start_epoch(1)
    assert isinstance(step.transfer, Borrow)
    assert {*step.transfer.diagnostics()["borrowed"]} == borrows


def test_labels_are_counted_in_the_warm_up_only(
    on: Callable[..., Any], few: Batch, rows_of: Callable[..., Batch]
) -> None:
    step, borrow = on(few)
    assert borrow.labels().tolist() == expected_labels(few)
    step(rows_of(40))
    assert borrow.labels().tolist() == expected_labels(few)
    step.start_epoch(0)
    step(few)
    assert borrow.labels().tolist() == [2 * n for n in expected_labels(few)]


def test_labels_of_all_processes_count(
    on: Callable[..., Any], few: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "sum_over_processes", lambda counts: 3 * counts)
    _, borrow = on(few)
    assert borrow.labels().tolist() == [3 * n for n in expected_labels(few)]


def test_unknown_items_are_no_labels(on: Callable[..., Any], few: Batch) -> None:
    labels = few.labels.clone()
    labels[:60, BRAND] = 0
    _, borrow = on(replace(few, labels=labels))
    assert borrow.labels()[BRAND] == (labels[:, BRAND] > 0).sum()


def test_uniform_donors_are_all_others_that_lend_by_root_labels(
    on: Callable[..., Any], few: Batch
) -> None:
    """By effective labels, where scarcity goes by rows."""
    _, borrow = on(few)
    labels = torch.tensor(expected_labels(few))
    effective = torch.zeros(4)
    for task in (CLICK, SEGMENT):  # brand's are of items
        known = few.labels[:, task][~few.labels[:, task].isnan()]
        most = known.unique(return_counts=True)[1].max()
        effective[task] = min(2 * (len(known) - most), len(known))
    weights = effective.sqrt()
    scarcity = 1 - KEPT / (labels.median() + labels.sort().values[2]) * 2 / 0.25
    want = torch.zeros(4, 4)
    want[VALUE] = scarcity * weights / weights.sum()
    torch.testing.assert_close(borrow.lent, want)
    assert scarcity > 0.5


def test_named_donors_lend_to_scarce_tasks(on: Callable[..., Any], few: Batch) -> None:
    _, borrow = on(few, {"value": ["segment"], "click": ["segment"]})
    assert torch.nonzero(borrow.lent).tolist() == [[VALUE, SEGMENT]]
    assert not borrow.measures


def test_measured_donors_have_like_affinity(
    on: Callable[..., Any], few: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, borrow = on(few, "measured")
    assert borrow.measures
    affinity = torch.eye(4).unsqueeze(0)
    affinity[0, VALUE] = torch.tensor([-0.8, 0.35, 1.0, 0.9])
    monkeypatch.setattr(borrow.adatt.measure, "affinity", lambda: affinity)
    step.start_epoch(2)
    lent = torch.nonzero(borrow.lent)
    assert lent.tolist() == [[VALUE, CLICK]]  # 0.35 is below half the best, brand cannot lend
    before = borrow.lent.clone()
    assert (before[VALUE] >= 0).all()
    step.start_epoch(3)  # frozen: chosen a last time
    affinity[0, VALUE, CLICK] = 0.0
    step.start_epoch(4)
    assert torch.equal(borrow.lent, before)


def test_donors_stay_when_an_epoch_resumes(
    on: Callable[..., Any], few: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, borrow = on(few, "measured")
    before = borrow.lent.clone()
    everybody = torch.ones(1, 4, 4)
    monkeypatch.setattr(borrow.adatt.measure, "affinity", lambda: everybody)
    step.start_epoch(1)
    assert torch.equal(borrow.lent, before)
    step.start_epoch(2)
    assert not torch.equal(borrow.lent, before)


def test_retrieval_borrows_but_does_not_lend(
    on: Callable[..., Any], rows_of: Callable[[int], Batch]
) -> None:
    _, borrow = on(scarce(rows_of(100), VALUE, BRAND))
    assert torch.nonzero(borrow.lent.sum(1)).flatten().tolist() == [VALUE, BRAND]
    assert (borrow.lent[:, BRAND] == 0).all()
    assert (borrow.lent[BRAND, :3] > 0).all()


@pytest.mark.parametrize("experts", [1, 3])
def test_the_term_is_the_weighted_losses_of_the_heads(
    on: Callable[..., Any], few: Batch, experts: int
) -> None:
    own = [{"kind": "mlp", "count": experts, "hidden": [16, 12]}]
    step, borrow = on(replace(few, weights=torch.linspace(0, 2, 100)), model={"task_experts": own})
    view, _ = view_of(step, few)
    term = borrow.term(view)
    own_of_value = view.outputs.mixed.own[VALUE]  # type: ignore[index]
    assert own_of_value.shape == (experts, 100, 12)
    features = torch.cat(list(own_of_value), 1)
    logits = features @ borrow.head[VALUE] + borrow.head_bias[VALUE]
    click = step.losses.tasks["click"](logits[:, :1], few.labels[:, CLICK], few.weights)[0]
    segment = step.losses.tasks["segment"](logits[:, 1:4], few.labels[:, SEGMENT], few.weights)[0]
    weights = borrow.lent[VALUE]
    assert term is not None
    strength = BorrowSettings().strength
    expected = strength * (weights[CLICK] * click + weights[SEGMENT] * segment)
    torch.testing.assert_close(term, expected)


def test_heads_teach_the_receivers_own_experts_and_what_lies_below(
    on: Callable[..., Any], few: Batch
) -> None:
    step, borrow = on(few)
    step.optimizer.zero_grad(set_to_none=True)
    view, features = view_of(step, few)
    borrow.term(view).backward()
    reached = {n: p.grad for n, p in step.network.named_parameters() if p.grad is not None}
    assert reached
    assert all("task_experts" in name for name in reached)
    for name, gradient in reached.items():
        by_task = gradient.view(4, -1).abs().sum(1)
        assert (by_task > 0).tolist() == [task == VALUE for task in range(4)], name
    assert features.grad is not None
    assert (features.grad != 0).any(0).all()
    assert borrow.head.grad is not None
    taught = (borrow.head.grad != 0).any(1)  # (T, K): columns of click 1, segment 3, value 1
    assert torch.nonzero(taught).tolist() == [[VALUE, column] for column in range(4)]


def test_absent_donors_are_left_out(on: Callable[..., Any], few: Batch) -> None:
    step, borrow = on(few)
    labels = few.labels.clone()
    labels[:, CLICK] = torch.nan
    batch = replace(few, labels=labels)
    view, _ = view_of(step, batch)
    borrow.term(view).backward()
    assert torch.nonzero((borrow.head.grad != 0).any(1)).tolist() == [[VALUE, c] for c in (1, 2, 3)]
    labels[:, SEGMENT] = torch.nan
    view, _ = view_of(step, replace(few, labels=labels.clone()))
    assert borrow.term(view) is None
    assert step(replace(few, labels=labels)).updated


def test_heads_learn_and_are_no_part_of_the_network(
    on: Callable[..., Any], step_of: Callable[..., TrainingStep], few: Batch
) -> None:
    step, borrow = on(few)
    assert step.network.state_dict().keys() == step_of().network.state_dict().keys()
    head = {id(p) for p in (borrow.head, borrow.head_bias)}
    assert not head & {id(p) for p in step.network.parameters()}
    before = borrow.head.detach().clone()
    assert step(few).updated
    moved = (borrow.head != before).any(1)
    assert torch.nonzero(moved).tolist() == [[VALUE, column] for column in range(4)]


def test_heads_start_at_zero(step_of: Callable[..., TrainingStep]) -> None:
    step = step_of({"mechanism": "borrow"})
    assert isinstance(step.transfer, Borrow)
    assert not step.transfer.head.any()
    assert step.transfer.head.shape == (4, 12, 5)
    assert not step.transfer.head_bias.any()


def test_diagnostics_show_who_borrowed_from_whom(
    on: Callable[..., Any], few: Batch, caplog: pytest.LogCaptureFixture
) -> None:
    step, borrow = on(few)
    numbers = borrow.diagnostics()
    assert numbers["weights"] == [borrow.lent.tolist()]
    assert numbers["negative_transfer"] == {}
    weights = numbers["borrowed"]["value"]
    line = f"value from click ({weights['click']:.2f}), segment ({weights['segment']:.2f})"
    for epoch in (2, 3):  # dynamic, frozen
        caplog.clear()
        with caplog.at_level("INFO"):
            step.start_epoch(epoch)
        assert [record.message for record in caplog.records] == [f"adaTT, who borrows: {line}"]
    assert list(numbers["borrowed"]) == ["value"]
    assert list(numbers["borrowed"]["value"]) == ["click", "segment"]
    assert sum(numbers["borrowed"]["value"].values()) == pytest.approx(borrow.lent.sum().item())
    assert json.loads(json.dumps(numbers))["phase"] == "dynamic"


def test_nothing_is_measured_once_nobody_is_scarce(
    on: Callable[..., Any], rows: Batch, few: Batch
) -> None:
    assert not on(rows, "measured")[1].measures
    step, borrow = on(few, "measured")
    for _ in range(10):
        step(few)
    assert borrow.adatt.diagnostics()["observations"] == 2  # steps 0 and 10
    step.start_epoch(3)
    for _ in range(10):
        step(few)
    assert borrow.adatt.diagnostics()["observations"] == 2
