"""All of adaTT on a small network: compiled and in bf16 it does what it does plainly."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import Tensor, nn

from recsys_mtl.adatt import AdaTT, GradientCosine, Observation, Schedule, Settings, Shapes
from recsys_mtl.gradients import task_gradients

TASKS, INPUTS, B = ("a", "b", "c"), 6, 64
Wrap = Callable[[nn.Module], Callable[[Tensor], Tensor]]


def train(
    seed: int,
    wrap: Wrap = lambda module: module,
    scope: AbstractContextManager[object] | None = None,
) -> AdaTT:
    """Two tasks alike, one opposed on the same features; a few steps in every phase."""
    torch.manual_seed(seed)
    x = torch.randn(B, INPUTS)
    y = torch.stack([x[:, 0], x[:, 0] + 0.3 * x[:, 1], -x[:, 0]], 1)
    shared = nn.Sequential(nn.Linear(INPUTS, 8), nn.Tanh(), nn.Linear(8, 3))
    network = wrap(shared)
    adatt = AdaTT(TASKS, GradientCosine(Shapes(3)), Schedule(1, 3), settings=Settings(interval=2))
    optimizer = torch.optim.SGD([*shared.parameters(), adatt.W], lr=0.05)
    block = [(parameter, None) for parameter in shared[0].parameters()]
    present = torch.ones(3, dtype=torch.bool)
    for step in range(16):
        adatt.start_epoch(step // 4)
        with scope or nullcontext():
            losses = (network(x) - y).square().mean(0)
            if adatt.due():
                gradients = task_gradients(losses, [block], present)
                adatt.observe(Observation(counts=B * present, gradients=lambda g=gradients: [*g]))
            total = adatt.losses(losses, present).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return adatt


def test_bf16_autocast_agrees(seed: int) -> None:
    plain = train(seed)
    half = train(seed, scope=torch.autocast("cpu", dtype=torch.bfloat16))
    assert half.measure.observations == plain.measure.observations == 6
    # bf16 keeps 8 bits, so each gradient is off by about 1 % of its length: a cosine by up to
    # about 2 %, and a softmax of it by less.
    torch.testing.assert_close(half.measure.affinity(), plain.measure.affinity(), atol=0.02, rtol=0)
    torch.testing.assert_close(half.weights(), plain.weights(), atol=0.02, rtol=0)
    assert half.frozen
    assert plain.detect_negative_transfer() == half.detect_negative_transfer()


@pytest.mark.slow  # the first compilation takes seconds
def test_a_compiled_network_agrees(seed: int) -> None:
    from torch._functorch import config

    plain = train(seed)
    with config.patch(donated_buffer=False):  # the graph has to stay alive
        compiled = train(seed, lambda module: torch.compile(module, backend="aot_eager"))
    torch.testing.assert_close(compiled.state_dict(), plain.state_dict())
    assert plain.measure.affinity().abs().sum() > 3
