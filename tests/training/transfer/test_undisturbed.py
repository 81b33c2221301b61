"""Measuring is not training: where nothing is transferred, no bit of the network moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_mtl.data.batch import Batch
from recsys_mtl.training.step import TrainingStep
from tests.marks import slow_except

NAMES = ["gradient_cosine", "logit_correlation", "averaged_gradient"]
DROPOUT = {"dropout": 0.3, "tower_dropout": 0.2}


def state(step: TrainingStep) -> dict[str, Tensor]:
    tables = step.network.embeddings.accumulators()  # not part of the state_dict
    return {k: v.clone() for k, v in (step.network.state_dict() | tables).items()}


def assert_identical(one: TrainingStep, other: TrainingStep) -> None:
    first, second = state(one), state(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_off_is_a_step_without_it(step_of: Callable[..., TrainingStep], rows: Batch) -> None:
    off = step_of({"mechanism": "off", "warmup_epochs": 0, "strength": 9.0}, model=DROPOUT)
    assert off.transfer is None
    plain = step_of(model=DROPOUT)
    never = TrainingStep(
        plain.network,
        plain.losses,
        plain.balancer,
        plain.optimizer,
        precision="fp32",
        clip_norm=5.0,
        table_learning_rate=0.02,
    )
    for step in (off, never):
        torch.manual_seed(5)
        for _ in range(3):
            assert step(rows).updated
    assert_identical(off, never)


@pytest.mark.parametrize("name", slow_except(["gradient_cosine"], NAMES))
@pytest.mark.parametrize("rows_of_it", slow_except([5], [None, 5]))
def test_measuring_moves_nothing(
    trained: Callable[..., Any], name: str, rows_of_it: int | None
) -> None:
    off, _ = trained(model=DROPOUT)
    drawn = torch.get_rng_state()
    measure = {"name": name, "interval": 1, "rows": rows_of_it}
    adatt = {"mechanism": "loss", "strength": 0.0, "learn_weights": False, "measure": measure}
    on, result = trained(adatt, model=DROPOUT)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert_identical(on, off)
    assert result.epochs[-1].transfer["observations"] == 9  # three epochs of three, none frozen
    affinity = torch.tensor(result.epochs[-1].transfer["affinity"])
    assert (affinity[0].fill_diagonal_(0) != 0).any()


def test_an_affinity_for_each_expert_moves_nothing(trained: Callable[..., Any]) -> None:
    off, _ = trained(model=DROPOUT)
    measure = {"scope": "expert", "interval": 2}
    adatt = {"mechanism": "loss", "strength": 0.0, "learn_weights": False, "measure": measure}
    on, _ = trained(adatt, model=DROPOUT)
    assert_identical(on, off)


@pytest.mark.parametrize("mechanism", ["loss", "gradient", "borrow"])
def test_the_warm_up_is_as_without(
    step_of: Callable[..., TrainingStep], rows: Batch, mechanism: str
) -> None:
    off, on = step_of(model=DROPOUT), step_of({"mechanism": mechanism}, model=DROPOUT)
    for step in (off, on):
        torch.manual_seed(5)
        step.start_epoch(0)
        for _ in range(3):
            assert step(rows).updated
    assert_identical(on, off)
    assert on.transfer is not None
    assert all(p.grad is None for p in on.transfer.parameters())


@pytest.mark.parametrize(
    "donors", slow_except(["measured"], ["measured", "uniform", {"click": ["value"]}])
)
def test_borrowing_is_as_without_where_no_task_is_scarce(
    trained: Callable[..., Any], donors: Any
) -> None:
    off, _ = trained(model=DROPOUT)
    on, result = trained({"mechanism": "borrow", "borrow": {"donors": donors}}, model=DROPOUT)
    assert_identical(on, off)
    assert result.epochs[-1].transfer["borrowed"] == {}


def test_a_transfer_that_acts_does_move_weights(trained: Callable[..., Any]) -> None:
    off, _ = trained(model=DROPOUT)
    for mechanism in ("loss", "gradient"):
        on, _ = trained({"mechanism": mechanism}, model=DROPOUT)
        with pytest.raises(AssertionError):
            assert_identical(on, off)
