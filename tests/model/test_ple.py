from __future__ import annotations

import pytest
import torch

from recsys_mtl.model.cgc import CGCSpec
from recsys_mtl.model.experts import ExpertGroup
from recsys_mtl.model.ple import PLE

B, N_IN, D = 11, 5, 6
SPEC = CGCSpec(
    tasks=("a", "b", "c"),
    shared=(ExpertGroup(count=2, hidden=(7, D)),),
    own=(ExpertGroup(count=4, hidden=(8, D)),),
    dropout=0.0,
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
