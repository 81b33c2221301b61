from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from recsys_mtl import memory
from recsys_mtl.training.best import Best

ROWS, DIM = 50_000, 8
SIZE = ROWS * DIM * 4


def allocated(run: Callable[[], object]) -> tuple[int, int]:
    """Bytes of tensors: most at a time, and those that are left, beyond what was there before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()
    assert profiled.profiler is not None
    now = most = 0
    for event in profiled.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most, now


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Embedding(ROWS, DIM)


def best_of(network: nn.Module, **changed: Any) -> Best:
    keys = {"larger_is_better": True, "min_delta": 0.0, "keep_weights": True} | changed
    return Best(network, **keys)


def test_better_weights_are_copied_into_the_one_buffer(network: nn.Module) -> None:
    best = best_of(network)
    most, held = allocated(lambda: [best.update(epoch, float(epoch)) for epoch in range(4)])
    assert SIZE <= held <= most < 1.01 * SIZE  # twice the weights with the network's own


def test_restoring_needs_no_memory_and_frees_the_buffer(network: nn.Module) -> None:
    best = best_of(network)
    expected = [p.detach().clone() for p in network.parameters()]

    @torch.no_grad()
    def run() -> None:
        best.update(0, 1.0)
        for parameter in network.parameters():
            parameter.zero_()
        best.restore()

    most, held = allocated(run)
    assert most < 1.01 * SIZE
    assert held == 0
    for parameter, value in zip(network.parameters(), expected, strict=True):
        assert torch.equal(parameter, value)


def test_loading_needs_no_more_than_the_buffer(network: nn.Module) -> None:
    best = best_of(network)
    best.update(3, 0.5)
    tensors, values = best.tensors(), best.values()
    other = best_of(network)

    def load() -> None:
        other.reserve(values)
        other.load(tensors, values)

    assert allocated(load)[0] < 1.01 * SIZE
    assert (other.epoch, other.score) == (3, 0.5)
    assert torch.equal(other.tensors()["weight"], tensors["weight"])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can start the count anew")
def test_large_weights_are_in_memory_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LARGEST_IN_MEMORY", 2**20)
    monkeypatch.setattr("recsys_mtl.training.best._PIECE", 2**17)
    network = nn.Sequential(nn.Embedding(20 * ROWS, DIM), nn.BatchNorm1d(3))
    size = 20 * SIZE / 2**20
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    memory.reset_peak_memory()
    before = memory.peak_memory_mb()
    best = best_of(network)
    best.update(0, 1.0)
    with torch.no_grad():
        for value in network.state_dict().values():
            value.zero_()
    best.update(1, 0.5)
    best.restore()
    assert all(torch.equal(v, weights[name]) for name, v in network.state_dict().items())
    best.update(2, 2.0)
    stored = best_of(network)
    stored.reserve(best.values())
    stored.load(weights, best.values())
    stored.restore()
    assert memory.peak_memory_mb() - before < 0.5 * size
    assert all(torch.equal(v, weights[name]) for name, v in network.state_dict().items())
    assert stored.tensors() == {}


def test_where_the_last_weights_are_kept_there_is_no_buffer(network: nn.Module) -> None:
    best = best_of(network, keep_weights=False)
    assert allocated(lambda: best.update(0, 1.0))[0] < 0.01 * SIZE
    assert best.tensors() == {}
    best.restore()


@pytest.mark.parametrize("larger", [True, False])
def test_a_gain_has_to_exceed_min_delta(network: nn.Module, larger: bool) -> None:
    best = best_of(network, larger_is_better=larger, min_delta=0.25)
    sign = 1 if larger else -1
    for epoch, score in enumerate((0.5, 0.75, 0.875, 1.0)):  # exact in binary
        best.update(epoch, sign * score)
    assert (best.epoch, best.score) == (2, sign * 0.875)


def test_an_equal_score_is_no_better(network: nn.Module) -> None:
    best = best_of(network)
    best.update(0, 0.5)
    best.update(1, 0.5)
    assert best.epoch == 0
