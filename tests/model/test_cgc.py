from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from recsys_mtl.model.cgc import CGC, CGCSpec
from recsys_mtl.model.experts import ExpertGroup
from recsys_mtl.model.grouped import HiddenLayers

TASKS = ("a", "b", "c")
B, N_IN, S, OWN, D = 11, 5, 2, 4, 6
MLP = {"kind": "mlp", "hidden": (7, D)}


def spec(own: int = OWN, shared: int = S, **rest: object) -> CGCSpec:
    return CGCSpec(
        tasks=TASKS,
        shared=(ExpertGroup(count=shared, **MLP),) if shared else (),
        own=(ExpertGroup(count=own, **MLP),) if own else (),
        layers=HiddenLayers(dropout=0.0),
        **rest,
    )


def level(made: CGCSpec, *, last: bool) -> CGC:
    torch.manual_seed(0)
    cgc = CGC(made, N_IN, last=last).eval()
    with torch.no_grad():
        for p in cgc.parameters():
            p.normal_()
    return cgc


def gate(linear: nn.Module, index: int, x: Tensor) -> Tensor:
    scores = (x @ linear.weight[index].T + linear.bias[index]).exp()
    return scores / scores.sum(1, keepdim=True)


@pytest.mark.parametrize("rows", [1, B])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("own", "shared"), [(OWN, S), (0, S), (OWN, 0), (1, S)])
def test_level_is_a_loop_over_tasks(own: int, shared: int, first: bool, rows: int) -> None:
    cgc = level(spec(own, shared), last=False)
    stream = torch.randn(rows, N_IN)
    tasks = stream if first else torch.randn(3, rows, N_IN)
    got = cgc(tasks, stream)
    assert got.tasks.shape == (3, rows, D)

    common = list(cgc.shared_experts(stream)[0]) if shared else []
    owned = [list(o) for o in cgc.task_experts(tasks)] if own else [[], [], []]
    for k in range(3):
        weights = gate(cgc.gate, k, tasks if first else tasks[k])
        want = torch.zeros(rows, D)
        for e, y in enumerate([*owned[k], *common]):
            want = want + weights[:, e : e + 1] * y
        torch.testing.assert_close(got.tasks[k], want)
        torch.testing.assert_close(got.weights[k], weights)
    if not shared:
        assert got.shared is None
        return
    everything = [y for o in owned for y in o] + common
    weights = gate(cgc.shared_gate, 0, stream)
    assert weights.shape == (rows, 3 * own + shared)
    want = sum(weights[:, e : e + 1] * y for e, y in enumerate(everything))
    torch.testing.assert_close(got.shared, want)


def test_last_level_has_no_shared_stream() -> None:
    cgc = level(spec(), last=True)
    assert cgc.shared_gate is None
    assert cgc(torch.randn(B, N_IN), torch.randn(B, N_IN)).shared is None


def test_ungated_is_the_average() -> None:
    cgc = level(spec(own=0, gated=False), last=False)
    x = torch.randn(B, N_IN)
    got = cgc(x, x)
    mean = cgc.shared_experts(x)[0].mean(0)
    torch.testing.assert_close(got.tasks, mean.expand(3, B, D))
    torch.testing.assert_close(got.shared, mean)
    assert got.weights is None
    assert not [n for n, _ in cgc.named_parameters() if "gate" in n]


def test_one_expert_needs_no_gate() -> None:
    cgc = level(spec(own=1, shared=0), last=True)
    x = torch.randn(B, N_IN)
    assert cgc.gate is None
    torch.testing.assert_close(cgc(x, x).tasks, cgc.task_experts(x)[:, 0])


@pytest.mark.parametrize("task", range(3))
def test_gradients_stay_with_the_task(task: int) -> None:
    cgc = level(spec(), last=True)
    x = torch.randn(B, N_IN)
    cgc(x, x).tasks[task].square().sum().backward()
    for p in [*cgc.task_experts.parameters(), *cgc.gate.parameters()]:
        of_tasks = p.grad.view(3, -1).abs().sum(1)
        assert (of_tasks > 0).tolist() == [k == task for k in range(3)]
    assert all((p.grad != 0).any() for p in cgc.shared_experts.parameters())


def test_preferred_experts_start_ahead() -> None:
    cgc = CGC(spec(preferred={"b": ["shared.1"]}), N_IN, last=True)
    assert cgc.gate.bias.tolist() == [[0.0] * 6, [-1.0] * 5 + [1.0], [0.0] * 6]
    weights = cgc(torch.zeros(1, N_IN), torch.zeros(1, N_IN)).weights
    assert weights[1, 0].argmax() == 5
    torch.testing.assert_close(weights[0, 0], torch.full((6,), 1 / 6))


def test_gates_are_float32_under_autocast() -> None:
    cgc = level(spec(), last=True)
    x = torch.randn(B, N_IN)
    with torch.autocast("cpu", torch.bfloat16):
        got = cgc(x, x)
    assert got.weights.dtype == torch.float32
    assert got.tasks.dtype == torch.bfloat16
    torch.testing.assert_close(got.weights.sum(-1), torch.ones(3, B))


def test_widths() -> None:
    groups = (ExpertGroup("fm", count=3, width=4), ExpertGroup("mlp", count=1, hidden=(9, 8)))
    made = CGCSpec(tasks=TASKS, shared=groups, own=(ExpertGroup("cross", count=2, width=5),))
    assert (made.width, made.num_shared, made.num_own) == (8, 4, 2)
    assert made.mean_width == (3 * 4 + 8 + 2 * 5) / 6


@pytest.mark.parametrize(("own", "shared"), [(OWN, S), (0, S), (OWN, 0)])
def test_outputs_hold_those_of_its_experts(own: int, shared: int) -> None:
    cgc = level(spec(own, shared), last=True)
    x = torch.randn(B, N_IN)
    got = cgc(x, x)
    if own:
        torch.testing.assert_close(got.own, cgc.task_experts(x))
        assert got.own.shape == (3, own, B, D)
    if shared:
        torch.testing.assert_close(got.common, cgc.shared_experts(x)[0])
        assert got.common.shape == (shared, B, D)
    assert (got.own is None, got.common is None) == (not own, not shared)


@pytest.mark.parametrize("gated", [True, False])
def test_factors_change_the_gradient_of_shared_experts_alone(gated: bool) -> None:
    cgc = level(spec(gated=gated), last=True)
    x = torch.randn(B, N_IN)
    plain = cgc(x, x)
    named = dict(cgc.named_parameters())
    shared = [name for name in named if "shared_experts" in name]
    target = torch.randn(3, B, D)

    def gradients(tasks: Tensor) -> dict[str, Tensor]:
        gradients_of = torch.autograd.grad(tasks, list(named.values()), retain_graph=True)
        return dict(zip(named, gradients_of, strict=True))

    losses = ((plain.tasks - target) ** 2).sum((1, 2))
    by_task = [torch.autograd.grad(t, plain.common, retain_graph=True)[0] for t in losses]
    before = gradients(losses.sum())
    cgc.shared_factors = torch.tensor([[1.5, 0.5], [1.0, 2.0], [0.0, 3.0]])
    scaled = cgc(x, x)
    assert torch.equal(scaled.tasks, plain.tasks)
    after = gradients(((scaled.tasks - target) ** 2).sum())
    factors = cgc.shared_factors
    cotangent = sum(factors[t, :, None, None] * by_task[t] for t in range(3))
    wanted = torch.autograd.grad(plain.common, [named[n] for n in shared], cotangent)
    for name, want in zip(shared, wanted, strict=True):
        torch.testing.assert_close(after[name], want)
        assert not torch.allclose(after[name], before[name], rtol=0.1)
    for name in named.keys() - set(shared):
        torch.testing.assert_close(after[name], before[name])
    cgc.shared_factors = None
    torch.testing.assert_close(gradients(((cgc(x, x).tasks - target) ** 2).sum()), before)
