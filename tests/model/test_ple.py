from __future__ import annotations

import pytest
import torch

from recsys_mtl.model.cgc import CGCSpec
from recsys_mtl.model.experts import ExpertGroup
from recsys_mtl.model.grouped import HiddenLayers
from recsys_mtl.model.ple import PLE

B, N_IN, D = 11, 5, 6
SPEC = CGCSpec(
    tasks=("a", "b", "c"),
    shared=(ExpertGroup(count=2, hidden=(7, D)),),
    own=(ExpertGroup(count=4, hidden=(8, D)),),
    layers=HiddenLayers(dropout=0.0),
)


@pytest.mark.parametrize("rows", [1, B])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_levels_feed_one_another(levels: int, rows: int) -> None:
    torch.manual_seed(0)
    ple = PLE(SPEC, N_IN, levels)
    x = torch.randn(rows, N_IN)
    streams = [x, x, x, x]
    for position, level in enumerate(ple.levels):
        tasks = x if position == 0 else torch.stack(streams[:3])
        output = level(tasks, streams[3])
        assert (output.shared is None) == (position == levels - 1)
        streams = [*output.tasks, streams[3] if output.shared is None else output.shared]
    got = ple(x)
    torch.testing.assert_close(got.tasks, torch.stack(streams[:3]))
    assert [w.shape for w in got.weights] == [(3, rows, 6)] * levels


def test_every_parameter_is_used() -> None:
    torch.manual_seed(0)
    ple = PLE(SPEC, N_IN, 3)
    ple(torch.randn(B, N_IN)).tasks.square().sum().backward()
    assert [n for n, p in ple.named_parameters() if not p.grad.abs().sum()] == []


@pytest.mark.parametrize("levels", [1, 2])
def test_shared_expert_parameters_are_exactly_the_shared_experts(levels: int) -> None:
    ple = PLE(SPEC, N_IN, levels)
    listed = ple.shared_expert_parameters()
    assert len(listed) == 2 * levels
    count: dict[int, set[int]] = {}
    for expert in listed:
        for p, index in expert:
            assert index not in count.setdefault(id(p), set())
            count[id(p)].add(index)
    want = {id(p): {0, 1} for n, p in ple.named_parameters() if ".shared_experts." in n}
    assert count == want
    assert len(want) == 8 * levels


def test_no_shared_experts_no_shared_parameters() -> None:
    ple = PLE(CGCSpec(tasks=("a", "b"), shared=(), own=SPEC.own), N_IN, 2)
    assert ple.shared_expert_parameters() == []
    assert ple(torch.randn(B, N_IN)).tasks.shape == (2, B, D)


@pytest.mark.parametrize("levels", [1, 2])
def test_gate_parameters_are_exactly_the_gates(levels: int) -> None:
    ple = PLE(SPEC, N_IN, levels)
    want = {id(p) for name, p in ple.named_parameters() if "gate" in name}
    assert {id(p) for p in ple.gate_parameters()} == want
    assert len(ple.gate_parameters()) == len(want) == 4 * levels - 2  # a last level has one gate


def test_no_gates_no_gate_parameters() -> None:
    spec = CGCSpec(tasks=("a", "b"), shared=SPEC.shared, own=(), gated=False)
    assert PLE(spec, N_IN, 1).gate_parameters() == []


@pytest.mark.parametrize("levels", [1, 3])
def test_the_last_levels_experts_are_shown(levels: int) -> None:
    torch.manual_seed(0)
    ple = PLE(SPEC, N_IN, levels)
    got = ple(torch.randn(B, N_IN))
    assert got.own.shape == (3, 4, B, D)
    assert got.common.shape == (2, B, D)
    weights = got.weights[-1]
    mixed = torch.einsum("tbo,tobd->tbd", weights[..., :4], got.own)
    mixed = mixed + torch.einsum("tbs,sbd->tbd", weights[..., 4:], got.common)
    torch.testing.assert_close(got.tasks, mixed)


def test_mixes_once_with_one_level() -> None:
    assert PLE(SPEC, N_IN, 1).mixes_once
    assert not PLE(SPEC, N_IN, 2).mixes_once


def test_a_copy_of_the_input_for_each_task_only_separates_the_gradients() -> None:
    torch.manual_seed(0)
    ple = PLE(SPEC, N_IN, 1).double()
    x = torch.randn(B, N_IN, dtype=torch.float64, requires_grad=True)
    copies = x.expand(3, -1, -1)
    plain, apart = ple(x), ple(x, copies)
    torch.testing.assert_close(apart.tasks, plain.tasks)
    sent = torch.randn(3, B, plain.tasks.shape[2], dtype=torch.float64)
    (at_copies,) = torch.autograd.grad(apart.tasks, copies, sent, retain_graph=True)
    for task in range(3):
        alone = torch.zeros_like(sent)
        alone[task] = sent[task]
        (here,) = torch.autograd.grad(apart.tasks, copies, alone, retain_graph=True)
        torch.testing.assert_close(here[task], at_copies[task])
        assert not here[[t for t in range(3) if t != task]].any()


@pytest.mark.parametrize("levels", [1, 3])
def test_shared_parameters_are_what_every_task_passes_through(levels: int) -> None:
    ple = PLE(SPEC, N_IN, levels)
    named = ple.shared_parameters()
    assert len({name for name, *_ in named}) == len(named)
    groups = list(dict.fromkeys(group for _, group, _, _ in named))
    if levels == 1:
        assert groups == ["shared.0", "shared.1"]
    else:
        own = [f"{t}.{i}" for t in SPEC.tasks for i in range(4)]
        of_level = ["shared.0", "shared.1", *own, "shared_gate"]
        earlier = [f"{level}.{name}" for level in range(levels - 1) for name in of_level]
        assert groups == [*earlier, f"{levels - 1}.shared.0", f"{levels - 1}.shared.1"]
    listed = {id(p) for _, _, p, _ in named}
    expected = {
        id(p)
        for name, p in ple.named_parameters()
        if ".shared_experts." in name
        or ".shared_gate." in name
        or (".task_experts." in name and f"levels.{levels - 1}." not in name)
    }
    assert listed == expected
    slices = [(id(p), index) for _, _, p, index in named]
    assert len(set(slices)) == len(slices)


def test_last_shared_parameters_are_the_last_maps_of_the_last_level() -> None:
    ple = PLE(SPEC, N_IN, 2)
    parameters = ple.last_shared_parameters()
    assert [index for _, index in parameters] == [0, 0, 1, 1]
    of_last = {id(p) for n, p in ple.named_parameters() if n.startswith("levels.1.shared_experts.")}
    assert {id(p) for p, _ in parameters} < of_last
    assert {p.shape[1] for p, _ in parameters} == {D}


def test_factors_are_for_one_level() -> None:
    factors = torch.rand(3, 2)
    ple = PLE(SPEC, N_IN, 1)
    ple.scale_shared_gradients(factors)
    assert ple.levels[0].shared_factors is factors
    assert "levels.0.shared_factors" not in ple.state_dict()
    ple.scale_shared_gradients(None)
    assert ple.levels[0].shared_factors is None
    with pytest.raises(ValueError, match="too many values"):
        PLE(SPEC, N_IN, 2).scale_shared_gradients(factors)
