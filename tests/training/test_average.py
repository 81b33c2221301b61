"""Averages of the weights: their values, and that they only change what is evaluated and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_mtl.columns.spec import DataSpec
from recsys_mtl.config.schema import Config
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.loader import MemoryLoader
from recsys_mtl.training import Trainer, Validation
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_plan, build_step

Weights = dict[str, Tensor]
EPOCHS, STEPS = 3, 3
TORCHREC, PLAIN = {"backend": "torchrec"}, {"backend": "plain"}


def weights(trainer: Trainer) -> Weights:
    return {n: p.detach().clone() for n, p in trainer.step.network.named_parameters()}


@pytest.fixture
def train(config_of: Callable[..., Config], spec: DataSpec, rows_of: Callable[..., Batch]) -> Any:
    """Trains with `averaging`; the weights after every step, at every validation and at the end."""

    def go(
        averaging: Any, *, embedding: Any = PLAIN, keep: str = "last", infinite: bool = False
    ) -> tuple[list[Weights], list[Weights], Weights]:
        config = config_of(
            training={
                "epochs": EPOCHS,
                "averaging": averaging,
                "early_stopping": {"patience": None, "keep": keep},
            }
        )
        model = config.model.model_dump(exclude_unset=True)
        model["embedding"] |= embedding
        config = config.model_copy(update={"model": type(config.model).model_validate(model)})
        torch.manual_seed(0)
        step = build_step(config, build_network(config, spec), torch.device("cpu"))
        rows = rows_of(40)
        if infinite:
            rows.labels[5, 2] = torch.inf
        loader = MemoryLoader(rows, batch_size=-(-40 // STEPS), shuffle=True, seed=0)
        steps: list[Weights] = []
        validated: list[Weights] = []

        def validate(epoch: int) -> Validation:
            validated.append(weights(trainer))
            return Validation([0.5, 0.4, 0.6][epoch])

        def after_step() -> None:
            steps.append(weights(trainer))

        trainer = Trainer(step, loader, validate, build_plan(config), on_step=after_step)
        trainer.fit()
        return steps, validated, weights(trainer)

    return go


def moving(steps: list[Weights], decay: float) -> list[Weights]:
    averages = [steps[0]]
    for count, new in enumerate(steps[1:], 1):
        share = min(decay, (1 + count) / (10 + count))
        averages.append({n: share * averages[-1][n] + (1 - share) * new[n] for n in new})
    return averages


def assert_close(weights: Weights, expected: Weights) -> None:
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-5, atol=1e-7, msg=name)


@pytest.mark.parametrize("embedding", [PLAIN, TORCHREC], ids=["plain", "torchrec"])
@pytest.mark.parametrize("decay", [0.998, 0.2])
def test_the_moving_average_is_evaluated_and_kept(
    train: Any, embedding: dict[str, str], decay: float
) -> None:
    steps, validated, last = train({"name": "ema", "decay": decay}, embedding=embedding)
    assert any("embedding_bags" in name for name in last)
    averages = moving(steps, decay)
    for epoch in range(EPOCHS):
        assert_close(validated[epoch], averages[(epoch + 1) * STEPS - 1])
    assert_close(last, averages[-1])


def test_the_mean_counts_from_its_start(train: Any) -> None:
    steps, validated, last = train({"name": "swa", "start": 0.5})
    counted = steps[5:]  # the first at or after half of nine steps
    mean = {n: torch.stack([w[n] for w in counted]).mean(0) for n in last}
    assert_close(last, mean)
    assert_close(validated[0], steps[2])  # nothing is averaged yet
    assert_close(validated[1], steps[5])


def test_a_training_that_ends_before_the_mean_starts_keeps_its_weights(
    train: Any, caplog: pytest.LogCaptureFixture
) -> None:
    steps, validated, last = train({"name": "swa", "start": 0.99})
    assert_close(last, steps[-1])
    assert_close(validated[-1], steps[-1])
    assert "no step counted, the weights are not averaged" in caplog.text


@pytest.mark.parametrize("averaging", ["ema", "swa"])
def test_the_training_itself_is_the_same(train: Any, averaging: str) -> None:
    steps, _, last = train(averaging)
    plain, _, plain_last = train("none")
    for one, other in zip(steps, plain, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in other)
    assert not all(torch.equal(last[name], plain_last[name]) for name in last)


def test_the_best_epochs_average_is_kept(train: Any) -> None:
    _, validated, last = train("ema", keep="best")
    assert_close(last, validated[1])  # of the smallest score: 0.4


def test_a_skipped_batch_is_not_in_the_average(train: Any) -> None:
    steps, _, last = train({"name": "swa", "start": 0.0}, infinite=True)
    counted = [
        new
        for new, old in zip(steps[1:], steps, strict=False)
        if not all(torch.equal(new[name], old[name]) for name in last)
    ]
    assert len(counted) in (len(steps) - EPOCHS, len(steps) - 1 - EPOCHS)
    if len(counted) == len(steps) - 1 - EPOCHS:  # the first batch was not the skipped one
        counted = [steps[0], *counted]
    assert_close(last, {n: torch.stack([w[n] for w in counted]).mean(0) for n in last})
