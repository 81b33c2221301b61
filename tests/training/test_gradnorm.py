"""GradNorm as a balancing method of the training step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from recsys_mtl.columns.spec import DataSpec
from recsys_mtl.config.schema import Config
from recsys_mtl.data.batch import Batch
from recsys_mtl.gradients import GradNorm
from recsys_mtl.training.all_rows import AllRows
from recsys_mtl.training.gradnorm import GradNormBalancer
from recsys_mtl.training.step import TrainingStep
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_step


@pytest.fixture
def step(config_of: Callable[..., Config], spec: DataSpec) -> TrainingStep:
    config = config_of(balancing={"name": "gradnorm", "alpha": 0.7, "learning_rate": 0.05})
    torch.manual_seed(3)
    return build_step(config, build_network(config, spec), torch.device("cpu"))


def lengths(step: TrainingStep, rows: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses, and lengths of their gradients on the experts' last layer, one backward a task."""
    network = step.network
    embedded = network.embed(rows)
    outputs = network.forward_from(embedded, rows)
    losses, _ = step._losses(outputs, embedded, rows, AllRows.of(step.losses, rows))
    last = network.ple.levels[0].shared_experts.experts[0].linears[-1]
    results = []
    for loss in losses:
        grads = torch.autograd.grad(loss, [last.weight, last.bias], retain_graph=True)
        results.append(torch.cat([g.flatten() for g in grads]).norm())
    return losses.detach(), torch.stack(results)


def test_it_receives_the_lengths_on_the_last_shared_layer(step: TrainingStep, rows: Batch) -> None:
    expected = GradNorm(4, alpha=0.7, learning_rate=0.05)
    for number in range(3):
        losses, of_tasks = lengths(step, rows)
        expected.update(losses, of_tasks, torch.ones(4, dtype=torch.bool))
        assert step(rows, number).updated
        weights = step.balancer.weights()
        torch.testing.assert_close(weights, expected.weights, atol=1e-5, rtol=1e-4)
    assert (expected.weights - 1).abs().max() > 0.05
    assert float(expected.weights.sum()) == pytest.approx(4, abs=1e-4)


def test_fixed_weights_act_on_top() -> None:
    balancer = GradNormBalancer(torch.tensor([2.0, 1.0, 0.5]), alpha=1.0, learning_rate=0.1)
    present = torch.tensor([True, True, False])
    balancer.record_lengths(torch.tensor([1.0, 2.0, 0.0]), torch.tensor([5.0, 1.0, 0.0]), present)
    w = balancer.gradnorm.weights
    assert w[0] < 1 < w[1]
    assert w[2] == 1
    total = balancer.total(torch.tensor([3.0, 7.0, torch.nan]), present)
    assert float(total) == pytest.approx(float(2 * w[0] * 3 + w[1] * 7))


@pytest.mark.parametrize(("alpha", "first_grows"), [(1.0, True), (2.0, False)])
def test_alpha_reaches_the_weights(alpha: float, first_grows: bool) -> None:
    balancer = GradNormBalancer(torch.ones(2), alpha=alpha, learning_rate=0.1)
    present = torch.tensor([True, True])
    balancer.record_lengths(torch.ones(2), torch.ones(2), present)
    # G = 0.4 is below Ḡ · 0.5 and above Ḡ · 0.5².
    balancer.record_lengths(torch.tensor([0.5, 1.5]), torch.tensor([0.4, 1.6]), present)
    first, second = balancer.gradnorm.weights.tolist()
    assert (first > 1 > second) == first_grows
    assert (second > 1 > first) != first_grows


def test_the_config_s_settings_reach_it(step: TrainingStep) -> None:
    gradnorm = step.balancer.gradnorm
    assert (gradnorm.alpha, gradnorm.learning_rate) == (0.7, 0.05)


def test_its_state_comes_back(step: TrainingStep, rows: Batch) -> None:
    step(rows)
    other = GradNormBalancer(torch.ones(4), alpha=0.7, learning_rate=0.05)
    other.load_state_dict(step.balancer.state_dict())
    assert torch.equal(other.gradnorm.weights, step.balancer.gradnorm.weights)
    assert torch.equal(other.gradnorm.first_losses, step.balancer.gradnorm.first_losses)
