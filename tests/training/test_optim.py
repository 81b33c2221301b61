import itertools
import math

import pytest
import torch
from torch import nn

from recsys_mtl.training.optim import make_optimizer, schedule_factor


def factors(total: int, **settings) -> list[float]:
    return [schedule_factor(step, total_steps=total, **settings) for step in range(total)]


def test_warmup_rises_linearly_then_cosine_falls():
    got = factors(100, warmup=0.1, kind="cosine")
    assert got[:10] == pytest.approx([(i + 1) / 11 for i in range(10)])
    assert got[10] == pytest.approx(1.0)
    assert got[55] == pytest.approx(0.5 * (1 + math.cos(math.pi * 45 / 90)))
    assert all(a >= b for a, b in itertools.pairwise(got[10:]))
    assert got[-1] > 0


def test_constant_stays_at_the_peak():
    assert factors(20, warmup=0.0, kind="constant") == [1.0] * 20


def test_steps_past_the_plan_keep_the_last_value():
    late = schedule_factor(500, total_steps=100, warmup=0.1, kind="cosine")
    assert 0 < late <= schedule_factor(99, total_steps=100, warmup=0.1, kind="cosine")


class Grouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, 3, 4))
        self.bias = nn.Parameter(torch.zeros(2, 4))


def test_only_matrices_decay():
    module = nn.ModuleDict({"layer": Grouped(), "norm": nn.LayerNorm(3)})
    optimizer = make_optimizer(module.named_parameters(), learning_rate=0.1, weight_decay=0.5)
    decayed, plain = optimizer.param_groups
    assert [p.shape for p in decayed["params"]] == [(2, 3, 4)]
    assert decayed["weight_decay"] == 0.5
    assert plain["weight_decay"] == 0.0
    assert len(plain["params"]) == 3


def test_decay_pulls_matrices_towards_zero_and_leaves_biases():
    module = nn.Linear(2, 2)
    nn.init.ones_(module.weight)
    nn.init.ones_(module.bias)
    optimizer = make_optimizer(module.named_parameters(), learning_rate=0.1, weight_decay=0.5)
    module(torch.zeros(1, 2)).sum().mul(0.0).backward()
    optimizer.step()
    assert torch.allclose(module.weight, torch.full((2, 2), 0.95))
    assert torch.equal(module.bias, torch.ones(2))


def test_it_is_the_adamw_of_torch():
    ours, theirs = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)
    theirs.load_state_dict(ours.state_dict())
    optimizers = (
        make_optimizer(ours.named_parameters(), learning_rate=0.1, weight_decay=0.5),
        torch.optim.AdamW(theirs.parameters(), lr=0.1, weight_decay=0.5, fused=True),
    )
    for step in range(6):
        rows = torch.full((4, 3), 1.0 + step)
        for module, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            module(rows).pow(2).sum().backward()
            optimizer.step()
            optimizer.load_state_dict(optimizer.state_dict())
    assert torch.equal(ours.weight, theirs.weight)
