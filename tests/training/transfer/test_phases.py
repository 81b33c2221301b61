"""adaTT over epochs: what acts when, what a checkpoint holds, what an epoch reports."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_mtl.data.batch import Batch
from recsys_mtl.data.loader import MemoryLoader
from recsys_mtl.model import embeddings_plain
from recsys_mtl.training.step import TrainingStep
from tests.marks import slow_except

MECHANISMS = ["loss", "gradient", "borrow"]
SGD = {"tables": {"name": "sgd", "learning_rate": 0.05}}  # without state outside the state_dict


@pytest.fixture
def few(rows: Batch) -> Batch:
    """Rows of which few have the value, so it borrows."""
    labels = rows.labels.clone()
    labels[6:, 2] = torch.nan
    return replace(rows, labels=labels)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_phases_follow_the_epochs(trained: Callable[..., Any], few: Batch, mechanism: str) -> None:
    step, result = trained({"mechanism": mechanism, "measure": {"interval": 1}}, batch=few)
    reported = [epoch.transfer for epoch in result.epochs]
    assert [seen["phase"] for seen in reported] == ["warmup", "dynamic", "dynamic", "frozen"]
    assert [seen["epoch"] for seen in reported] == [0, 1, 2, 3]
    assert [seen["observations"] for seen in reported] == [3, 6, 9, 9]
    assert reported[3]["affinity"] == reported[2]["affinity"]
    assert reported[1]["blend"] > reported[2]["blend"] > reported[3]["blend"] == pytest.approx(0.1)
    assert json.loads(json.dumps(reported)) == reported
    assert step.transfer.adatt.frozen


def test_an_epoch_reports_nothing_of_adatt_without_it(trained: Callable[..., Any]) -> None:
    _, result = trained()
    assert [epoch.transfer for epoch in result.epochs] == [None] * 4


def test_borrowing_starts_after_the_warm_up(trained: Callable[..., Any], few: Batch) -> None:
    step, result = trained({"mechanism": "borrow", "borrow": {"donors": "uniform"}}, batch=few)
    borrowed = [epoch.transfer["borrowed"] for epoch in result.epochs]
    assert borrowed[0] == {}
    assert borrowed[1] == borrowed[2] == borrowed[3] != {}
    assert step.transfer.head.any()


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("freezes", [False, True])
def test_gates_stand_still_from_freeze_epoch_only(
    step_of: Callable[..., TrainingStep], few: Batch, mechanism: str, freezes: bool
) -> None:
    adatt = {"mechanism": mechanism, "freeze_epoch": 2, "freeze_gates": freezes}
    step = step_of(adatt, training={"optimizer": {"weight_decay": 0.5}})
    gates = step.network.ple.gate_parameters()
    experts = step.network.ple.levels[0].shared_experts
    moved = []
    for epoch in range(4):
        step.start_epoch(epoch)
        before = [p.detach().clone() for p in (*gates, *experts.parameters())]
        assert step(few).updated
        after = [*gates, *experts.parameters()]
        changed = [not torch.equal(a, b) for a, b in zip(after, before, strict=True)]
        moved.append(all(changed[: len(gates)]))
        assert any(changed[: len(gates)]) == moved[-1]
        assert all(changed[len(gates) :])
    assert moved == [True, True, not freezes, not freezes]
    step.start_epoch(1)  # an earlier state was loaded
    assert all(p.requires_grad for p in gates)


def state(step: TrainingStep) -> dict[str, Any]:
    assert step.transfer is not None
    parts = {
        "network": step.network.state_dict(),
        "optimizer": step.optimizer.state_dict(),
        "transfer": step.transfer.state_dict(),
    }
    copied: dict[str, Any] = torch.utils._pytree.tree_map(
        lambda v: v.detach().clone() if isinstance(v, Tensor) else v, parts
    )
    return copied


def load(step: TrainingStep, stored: dict[str, Any]) -> None:
    assert step.transfer is not None
    step.network.load_state_dict(stored["network"])
    step.optimizer.load_state_dict(stored["optimizer"])
    step.transfer.load_state_dict(stored["transfer"])


def from_here(
    step: TrainingStep, batch: Batch, epoch: int, start: int
) -> Iterator[tuple[int, int]]:
    """Trains to the end of epoch 4; yields the position after each batch."""
    step.network.train()
    loader = MemoryLoader(batch, batch_size=14, shuffle=True, seed=0)
    while epoch < 5:
        step.start_epoch(epoch)
        for index, part in enumerate(loader.epoch(epoch, start), start):
            assert step(part).updated
            yield epoch, index + 1
        epoch, start = epoch + 1, 0


@pytest.mark.parametrize("mechanism", slow_except(["borrow"], MECHANISMS))
def test_a_stored_run_resumes_exactly(
    step_of: Callable[..., TrainingStep], few: Batch, mechanism: str
) -> None:
    """From the middle and from the end of epochs of every phase."""
    adatt = {
        "mechanism": mechanism,
        "freeze_epoch": 3,
        "freeze_gates": True,
        "measure": {"name": "logit_correlation", "interval": 2},
    }
    straight = step_of(adatt, training=SGD)
    stored = {position: state(straight) for position in from_here(straight, few, 0, 0)}
    assert len(stored) == 15
    last = state(straight)
    for position in ((0, 2), (1, 1), (1, 3), (2, 2), (3, 1), (3, 3)):
        again = step_of(adatt, training=SGD)
        load(again, stored[position])
        assert again.transfer is not None
        assert again.transfer.adatt.phase is straight.transfer.adatt.schedule.phase(position[0])  # type: ignore[union-attr]
        assert len(list(from_here(again, few, *position))) == 15 - 3 * position[0] - position[1]
        for part, want in last.items():
            flat, _ = torch.utils._pytree.tree_flatten(want)
            actual, _ = torch.utils._pytree.tree_flatten(state(again)[part])
            for one, other in zip(actual, flat, strict=True):
                same = torch.equal(one, other) if isinstance(one, Tensor) else one == other
                assert same, (position, part)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("name", ["gradient_cosine", "logit_correlation", "averaged_gradient"])
def test_tables_are_updated_exactly_once_a_step(
    step_of: Callable[..., TrainingStep],
    few: Batch,
    monkeypatch: pytest.MonkeyPatch,
    mechanism: str,
    name: str,
) -> None:
    updates = []
    original = embeddings_plain._SameWidth.update
    monkeypatch.setattr(
        embeddings_plain._SameWidth, "update", lambda *args: updates.append(1) or original(*args)
    )
    adatt = {"mechanism": mechanism, "freeze_epoch": 2, "measure": {"name": name, "interval": 1}}
    step = step_of(adatt)
    for epoch in range(3):  # one of each phase
        step.start_epoch(epoch)
        assert step(few).updated
    assert len(updates) == 3  # three steps, one width of tables


def test_a_batch_that_is_not_finite_neither_trains_nor_measures(
    step_of: Callable[..., TrainingStep], rows: Batch
) -> None:
    step = step_of({"mechanism": "loss"})
    step.start_epoch(1)
    labels = rows.labels.clone()
    labels[1, 2] = torch.inf
    before = {name: value.clone() for name, value in step.network.state_dict().items()}
    assert not step(replace(rows, labels=labels)).updated
    assert all(torch.equal(v, before[k]) for k, v in step.network.state_dict().items())
    assert step.transfer is not None
    reported = step.transfer.diagnostics()
    assert (reported["observations"], reported["skipped"]) == (0, 1)
