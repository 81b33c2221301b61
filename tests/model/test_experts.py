from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from recsys_mtl.model.experts import CrossExperts, ExpertBank, ExpertGroup, FmExperts
from recsys_mtl.model.grouped import HiddenLayers

G, B, N_IN = 4, 11, 5
MIXED = (
    ExpertGroup("mlp", count=2, hidden=(7, 6)),
    ExpertGroup("cross", count=1, layers=2, width=3),
    ExpertGroup("fm", count=3, fields=4, width=8),
)


def randomise(module: nn.Module) -> None:
    with torch.no_grad():
        for p in module.parameters():
            p.normal_(std=0.5)


def bank(copies: int, *, scale_to: float | None = None) -> ExpertBank:
    made = ExpertBank(
        MIXED,
        copies=copies,
        in_features=N_IN,
        out_features=8,
        scale_to=scale_to,
        layers=HiddenLayers(dropout=0.0),
    )
    randomise(made)
    return made.eval()


def affine(module: nn.Module, index: int, x: Tensor) -> Tensor:
    return x @ module.weight[index].T + module.bias[index]


def expert(made: ExpertBank, copy: int, position: int, x: Tensor) -> Tensor:
    """The literal formula of one expert, before widths are matched; x is (B, N_IN)."""
    group, within = [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1), (2, 2)][position]
    module = made.experts[group]
    index = copy * MIXED[group].count + within
    if group == 0:
        for linear, norm in zip(module.linears, module.norms, strict=True):
            y = affine(linear, index, x)
            mean, var = y.mean(-1, keepdim=True), y.var(-1, keepdim=True, unbiased=False)
            y = (y - mean) / (var + 1e-5).sqrt() * norm.weight[index] + norm.bias[index]
            x = y * torch.sigmoid(y)
        return x
    if group == 1:
        crossed = x
        for layer in module.layers:
            crossed = x * affine(layer, index, crossed) + crossed
        return affine(module.project, index, crossed)
    v = affine(module.project, index, x).view(-1, 4, 8)
    total = torch.zeros(len(x), 8)
    for f in range(4):
        for g in range(f):
            total = total + v[:, f] * v[:, g]
    return total


@pytest.mark.parametrize("rows", [1, B])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("match", ["project", "scale"])
def test_bank_is_a_loop_of_experts(shared: bool, rows: int, match: str) -> None:
    torch.manual_seed(0)
    copies, mean = 3, 6.5
    made = bank(copies, scale_to=mean if match == "scale" else None)
    x = torch.randn(rows, N_IN) if shared else torch.randn(copies, rows, N_IN)
    got = made(x)
    assert got.shape == (copies, 6, rows, 8)
    for copy in range(copies):
        for position in range(6):
            want = expert(made, copy, position, x if shared else x[copy])
            width = want.shape[1]
            if match == "scale":
                want = nn.functional.pad(want, (0, 8 - width)) * (mean / width) ** 0.5
            elif width < 8:
                group = 0 if position < 2 else 1
                index = copy * 2 + position if group == 0 else copy
                want = affine(made.projections[group], index, want)
            torch.testing.assert_close(got[copy, position], want, atol=1e-4, rtol=1e-4)


def test_equal_widths_need_no_projection() -> None:
    made = ExpertBank(
        MIXED[:1],
        copies=1,
        in_features=N_IN,
        out_features=6,
        scale_to=None,
        layers=HiddenLayers(dropout=0.0),
    )
    assert isinstance(made.projections[0], nn.Identity)


def test_parameters_per_expert_move_only_that_expert() -> None:
    torch.manual_seed(0)
    made = bank(1)
    x = torch.randn(B, N_IN)
    before = made(x)[0]
    listed = made.parameters_per_expert()
    assert len(listed) == 6
    for position, parameters in enumerate(listed):
        saved = {n: p.clone() for n, p in made.state_dict().items()}
        with torch.no_grad():
            for p, index in parameters:
                p[index] += 0.3
        changed = (made(x)[0] != before).flatten(1).any(1)
        assert changed.tolist() == [p == position for p in range(6)]
        made.load_state_dict(saved)
    sizes = sum(p[index].numel() for parameters in listed for p, index in parameters)
    assert sizes == sum(p.numel() for p in made.parameters())


def test_cross_starts_from_its_input() -> None:
    cross = CrossExperts(G, N_IN, 2, 3)
    with torch.no_grad():
        for layer in cross.layers:
            layer.weight.zero_()
            layer.bias.zero_()
    x = torch.randn(B, N_IN)
    torch.testing.assert_close(cross(x), cross.project(x))


def test_fm_of_one_field_is_zero() -> None:
    torch.manual_seed(0)
    fm = FmExperts(G, N_IN, 1, 3)
    torch.testing.assert_close(fm(torch.randn(B, N_IN)), torch.zeros(G, B, 3), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("group", "width"), list(zip(MIXED, (6, 3, 8), strict=True)))
def test_out_width(group: ExpertGroup, width: int) -> None:
    assert group.out_width == width
