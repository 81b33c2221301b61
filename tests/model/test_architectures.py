"""Architectures against slow literal versions: values, and every gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_mtl.model.aitm import AITM
from recsys_mtl.model.architecture import Architecture, ArchitectureSpec
from recsys_mtl.model.batch_norm import GroupedBatchNorm
from recsys_mtl.model.cgc import CGCSpec
from recsys_mtl.model.experts import ExpertGroup
from recsys_mtl.model.grouped import GroupedLinear, HiddenLayers
from recsys_mtl.model.home import GatedExperts, HoME
from recsys_mtl.model.pepnet import GateUnit, PEPNet
from recsys_mtl.model.stem import STEM

B, D = 5, 6
TASKS = ("a", "b", "c", "d")
COLUMNS = (("user", 4), ("page", 2), ("age", 1), ("item", 4))
WIDTH = sum(width for _, width in COLUMNS)
GROUPS = {"g": ("d", "a"), "h": ("b",)}
LAYERS = HiddenLayers(normalization="none", activation="relu", dropout=0.0)
AITM_OPTIONS = {
    "chain": ["c", "a", "d"],
    "calibrator": 0.7,
    "calibrated": [("c", "a"), ("a", "d")],
}


def spec(own: int = 3, own_width: int = D) -> ArchitectureSpec:
    return ArchitectureSpec(
        CGCSpec(
            tasks=TASKS,
            shared=(ExpertGroup(count=2, hidden=(7, D)),),
            own=(ExpertGroup(count=own, hidden=(8, own_width)),),
            layers=LAYERS,
        ),
        columns=COLUMNS,
        groups=GROUPS,
    )


def affine(layer: GroupedLinear, group: int, x: Tensor) -> Tensor:
    y = layer.weight[group] @ x
    return y if layer.bias is None else y + layer.bias[group]


def mlp(linears: Any, group: int, x: Tensor) -> Tensor:
    for layer in linears:
        x = affine(layer, group, x).clamp_min(0)
    return x


def weigh(scores: Tensor, values: list[Tensor]) -> Tensor:
    return sum(w * v for w, v in zip(scores.softmax(0), values, strict=True))


def literal_aitm(net: AITM, x: Tensor, _: Tensor) -> Tensor:
    def own(task: str) -> Tensor:
        level, group = (net.first, 0) if task == "c" else (net.others, "abd".index(task))
        linears = level.task_experts.experts[0].linears
        experts = [mlp(linears, group * 3 + e, x) for e in range(3)]
        return weigh(affine(level.gate, group, x), experts)

    z = {task: own(task) for task in TASKS}
    for (before, task), step in zip([("c", "a"), ("a", "d")], net.transfers, strict=True):
        both = [step.information(z[before]), z[task]]
        scores = [step.query(u) @ step.key(u) / D**0.5 for u in both]
        z[task] = weigh(torch.stack(scores), [step.value(u) for u in both])
    return torch.stack([z[task] for task in TASKS])


def unit(gate: GateUnit, group: int, x: Tensor) -> Tensor:
    return 2 * affine(gate.score, group, affine(gate.cross, group, x).clamp_min(0)).sigmoid()


def parts(x: Tensor, live: set[str]) -> Tensor:
    columns = x.split([width for _, width in COLUMNS])
    names = [name for name, _ in COLUMNS]
    return torch.cat([c if n in live else c.detach() for n, c in zip(names, columns, strict=True)])


def literal_pepnet(net: PEPNet, x: Tensor, _: Tensor) -> Tensor:
    scaled = x * unit(net.epnet, 0, parts(x, {"page"}))
    raw, other = x.split([w for _, w in COLUMNS]), scaled.detach().split([w for _, w in COLUMNS])
    prior = torch.cat([raw[0], other[1], other[2], raw[3]])
    outputs = []
    for task in range(len(TASKS)):
        h = scaled
        for layer, gate in zip(net.networks.linears, net.ppnet, strict=True):
            h = affine(layer, task, h).clamp_min(0) * unit(gate, task, prior)
        outputs.append(h)
    return torch.stack(outputs)


def literal_stem(net: STEM, x: Tensor, own: Tensor) -> Tensor:
    shared = [mlp(net.shared_experts.experts[0].linears, e, x) for e in range(2)]
    linears = net.task_experts.experts[0].linears
    experts = [[mlp(linears, t * 3 + e, own[t]) for e in range(3)] for t in range(len(TASKS))]
    outputs = []
    for t in range(len(TASKS)):
        seen = [e if u == t else e.detach() for u, each in enumerate(experts) for e in each]
        outputs.append(weigh(affine(net.gate, t, own[t] + x), [*seen, *shared]))
    return torch.stack(outputs)


def by_rows(rows: Callable[[Any, Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """A literal version of a row, for all rows: (T, B, D)."""

    def of(net: Architecture, x: Tensor, own: Tensor) -> Tensor:
        return torch.stack([rows(net, x[b], own[:, b]) for b in range(len(x))], 1)

    return of


def expert(bank: GatedExperts, number: int, x: Tensor) -> Tensor:
    """(B, I) to (B, D): batch norm needs all rows."""
    before = []
    for row in x:
        scales = [
            2 * affine(bank.gate.up, m, affine(bank.gate.down, m, row)).sigmoid()
            for m in range(number * 3, number * 3 + 3)
        ]
        gated = row * weigh(affine(bank.gate.mix, number, row), scales)
        before.append(affine(bank.last, number, mlp(bank.hidden.linears, number, gated)))
    rows = torch.stack(before)
    norm = bank.norm
    mean, variance = norm.running_mean[number], norm.running_var[number]
    if norm.training:
        mean, variance = rows.mean(0), rows.var(0, correction=0)
    normed = (rows - mean) / (variance + 1e-5).sqrt() * norm.weight[number] + norm.bias[number]
    return normed * normed.sigmoid()


def gated(
    gate: GroupedLinear, itself: GroupedLinear, g: int, x: Tensor, own: list[Tensor], rest: Any
) -> Tensor:
    """The gate's mixture and the self gate's, (B, D)."""
    rows = []
    for b, row in enumerate(x):
        scores = affine(itself, g, row)
        weights = scores.sigmoid() if len(own) == 1 else scores.softmax(0)
        mixed = weigh(affine(gate, g, row), [e[b] for e in (*own, *rest)])
        rows.append(mixed + sum(w * e[b] for w, e in zip(weights, own, strict=True)))
    return torch.stack(rows)


def literal_home(net: HoME, x: Tensor, _: Tensor) -> Tensor:
    shared = [expert(net.meta_shared, e, x) for e in range(2)]
    groups = [[expert(net.meta_groups, g * 2 + e, x) for e in range(2)] for g in range(3)]
    z = [
        gated(net.group_gate, net.group_self_gate, g, x, own, shared)
        for g, own in enumerate(groups)
    ]
    rest = [e for each in groups for e in each]
    z_all = gated(net.shared_gate, net.shared_self_gate, 0, x, shared, rest)
    common = [expert(net.shared_experts, e, z_all) for e in range(2)]
    of_group = [[expert(net.group_experts, g * 2 + e, z[g]) for e in range(2)] for g in range(3)]
    count = net.task_self_gate.weight.shape[1]
    outputs = []
    for t, g in enumerate([0, 1, 2, 0]):  # a and d are g, b is h, c is in none
        own = [expert(net.task_experts, t * count + e, z[g]) for e in range(count)]
        both = torch.cat([z[g], z_all], 1)
        rest = [*of_group[g], *common]
        outputs.append(gated(net.task_gate, net.task_self_gate, t, both, own, rest))
    return torch.stack(outputs)


CASES: dict[str, tuple[Callable[[], Architecture], Callable[..., Tensor]]] = {
    "aitm": (lambda: AITM.of(spec(), **AITM_OPTIONS), by_rows(literal_aitm)),
    "pepnet": (
        lambda: PEPNet.of(spec(1), domain=["page"], prior=["user", "item"], hidden=3),
        by_rows(literal_pepnet),
    ),
    "stem": (lambda: STEM.of(spec()), by_rows(literal_stem)),
    "home": (lambda: HoME.of(spec(3, D - 1), loras=3, rank=2), literal_home),
    "home, one expert a task": (lambda: HoME.of(spec(1), loras=3, rank=2), literal_home),
}


def made(name: str) -> tuple[Architecture, Tensor, Tensor]:
    torch.manual_seed(0)
    net = CASES[name][0]().double()
    with torch.no_grad():
        for parameter in net.parameters():  # gates and norms begin as constants
            parameter.add_(0.3 * torch.randn_like(parameter))
    x, own = torch.randn(B, WIDTH), torch.randn(len(TASKS), B, WIDTH)
    return net, x.double().requires_grad_(), own.double().requires_grad_()


@pytest.mark.parametrize("name", CASES)
def test_an_architecture_is_its_literal_version(name: str) -> None:
    net, x, own = made(name)
    got = net(x, own if net.own_tables else None).tasks
    expected = CASES[name][1](net, x, own)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    sent = torch.randn_like(expected)
    leaves = [x, *([own] if net.own_tables else []), *net.parameters()]
    gradients = [
        torch.autograd.grad(value, leaves, sent, allow_unused=True) for value in (got, expected)
    ]
    for ours, literal in zip(*gradients, strict=True):
        assert ours is not None
        want = torch.zeros_like(ours) if literal is None else literal
        torch.testing.assert_close(ours, want, atol=1e-5, rtol=1e-5)  # gates are in float32


@pytest.mark.parametrize("name", CASES)
def test_shared_parameters_are_what_every_task_reaches(name: str) -> None:
    net, x, own = made(name)
    tasks = net(x, own if net.own_tables else None).tasks
    parameters = list(net.parameters())
    slopes = [
        torch.autograd.grad(task.square().sum(), parameters, retain_graph=True, allow_unused=True)
        for task in tasks
    ]
    listed = {(id(p), index) for _, _, p, index in net.shared_parameters()}
    for parameter, of_tasks in zip(parameters, zip(*slopes, strict=True), strict=True):
        for index in range(len(parameter)):
            every = all(slope is not None and slope[index].any() for slope in of_tasks)
            assert bool(listed & {(id(parameter), index), (id(parameter), None)}) == every
    slices = [(id(p), index) for _, _, p, index in net.shared_parameters()]
    assert len(set(slices)) == len(slices)
    groups = {group for _, group, _, _ in net.shared_parameters()}
    assert len(net.shared_expert_parameters()) == len([g for g in groups if g[-1].isdigit()])


@pytest.mark.parametrize("name", CASES)
def test_names_and_widths_are_those_of_the_output(name: str) -> None:
    net, x, own = made(name)
    output = net(x, own if net.own_tables else None)
    assert output.tasks.shape == (len(TASKS), B, net.out_features)
    for weights in output.weights:
        assert {weights.shape[2]} == {len(names) for names in net.expert_names.values()}
        assert all(len(set(names)) == len(names) for names in net.expert_names.values())
    tasks, number, rows, width = output.own.shape
    assert (tasks, rows, number * width) == (len(TASKS), B, net.own_width)


def test_a_chain_of_all_tasks_shares_its_first_experts() -> None:
    options = {"chain": ["b", "d", "a", "c"], "calibrator": 0.0, "calibrated": []}
    net = AITM.of(spec(), **options)
    groups = list(dict.fromkeys(group for _, group, _, _ in net.shared_parameters()))
    assert groups == ["b.0", "b.1", "b.2", "b.gate"]
    assert len(net.last_shared_parameters()) == 2 * 3
    assert net.penalty({}, torch.ones(B)) is None


def test_the_calibrator_is_the_weighted_mean_excess() -> None:
    torch.manual_seed(0)
    net = AITM.of(spec(), **AITM_OPTIONS)
    logits, weights = {task: torch.randn(B, 1) for task in TASKS}, torch.rand(B)
    expected = 0.0
    for b in range(B):
        p = {task: float(logit[b, 0].sigmoid()) for task, logit in logits.items()}
        expected += float(weights[b]) * (max(p["a"] - p["c"], 0) + max(p["d"] - p["a"], 0))
    got = net.penalty(logits, weights)
    assert got.item() == pytest.approx(0.7 * expected / float(weights.sum()), rel=1e-5)


def test_batch_norm_follows_its_batches() -> None:
    torch.manual_seed(0)
    norm = GroupedBatchNorm(3, 4)
    peer = torch.nn.BatchNorm1d(12, momentum=None)  # the plain mean, which the first ten are
    for _ in range(10):
        x = torch.randn(3, B, 4) * 2 + 1
        flat = x.transpose(0, 1).reshape(B, 12)
        torch.testing.assert_close(norm(x).transpose(0, 1).reshape(B, 12), peer(flat))
    torch.testing.assert_close(norm.running_mean.flatten(), peer.running_mean)
    torch.testing.assert_close(norm.running_var.flatten() * B / (B - 1), peer.running_var)
    kept = norm.running_mean.clone()
    norm(torch.randn(3, 1, 4))  # a single row
    norm(torch.full((3, B, 4), torch.inf))
    assert torch.equal(norm.running_mean, kept)
    norm.eval()
    assert norm(torch.full((3, 1, 4), 1.0)).isfinite().all()


def test_a_taken_name_of_the_other_tasks() -> None:
    groups = {"others": ("a",), "others_": ("b",)}
    net = HoME.of(ArchitectureSpec(spec().experts, 1, COLUMNS, groups), loras=1, rank=1)
    assert list(net.groups) == ["others", "others_", "others__"]
    assert net.groups["others__"] == ("c", "d")
