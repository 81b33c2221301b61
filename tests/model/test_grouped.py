from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from recsys_mtl.model import HiddenLayers, grouped
from recsys_mtl.model.grouped import GroupedLayerNorm, GroupedLinear, GroupedMLP

G, B, N_IN = 4, 11, 5
HIDDEN = (7, 6)


def randomise(module: nn.Module) -> None:
    with torch.no_grad():
        for p in module.parameters():
            p.normal_()


def one_mlp(mlp: GroupedMLP, group: int) -> nn.Sequential:
    """The group as ordinary modules with copied weights."""
    layers: list[nn.Module] = []
    for linear, norm in zip(mlp.linears, mlp.norms, strict=True):
        outputs, inputs = linear.weight.shape[1:]
        plain, plain_norm = nn.Linear(inputs, outputs), nn.LayerNorm(outputs)
        plain.load_state_dict({n: p[group] for n, p in linear.state_dict().items()})
        plain_norm.load_state_dict({n: p[group] for n, p in norm.state_dict().items()})
        layers += [plain, plain_norm, nn.SiLU()]
    return nn.Sequential(*layers)


def inputs(shared: bool, rows: int) -> Tensor:
    return torch.randn(rows, N_IN) if shared else torch.randn(G, rows, N_IN)


@pytest.mark.parametrize("rows", [1, B])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_a_loop_of_linears(shared: bool, rows: int, bias: bool) -> None:
    torch.manual_seed(0)
    linear = GroupedLinear(G, N_IN, 3, bias=bias)
    x = inputs(shared, rows)
    got = linear(x)
    assert got.shape == (G, rows, 3)
    for g in range(G):
        want = (x if shared else x[g]) @ linear.weight[g].T
        if linear.bias is not None:
            want = want + linear.bias[g]
        torch.testing.assert_close(got[g], want)


def test_linear_starts_as_torch_does() -> None:
    torch.manual_seed(0)
    linear = GroupedLinear(3, 100, 50)
    for p in linear.parameters():
        assert p.abs().max() <= 0.1
        assert p.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.1)


@pytest.mark.parametrize("rows", [1, B])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("loop", [True, False])
def test_mlp_is_a_loop_of_mlps(
    shared: bool, rows: int, loop: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouped, "_LOOP_ELEMENTS", 0 if loop else 10**9)
    torch.manual_seed(0)
    mlp = GroupedMLP(G, N_IN, HIDDEN, layers=HiddenLayers(dropout=0.5)).eval()
    randomise(mlp)
    x = inputs(shared, rows).requires_grad_()
    got = mlp(x)
    assert got.shape == (G, rows, 6)
    cotangent = torch.randn_like(got)
    gradients = torch.autograd.grad(got, [x, *mlp.parameters()], cotangent)

    plain = [one_mlp(mlp, g) for g in range(G)]
    want = torch.stack([m(x if shared else x[g]) for g, m in enumerate(plain)])
    torch.testing.assert_close(got, want)
    own = [list(m.parameters()) for m in plain]
    flat = torch.autograd.grad(want, [x, *(p for ps in own for p in ps)], cotangent)
    torch.testing.assert_close(gradients[0], flat[0])
    names = [n for n, _ in mlp.named_parameters()]
    layout = [
        f"{kind}.{k}.{w}"
        for k in range(2)
        for kind in ("linears", "norms")
        for w in ("weight", "bias")
    ]
    for position, name in enumerate(layout):
        stacked = torch.stack(flat[1 + position :: len(layout)])
        torch.testing.assert_close(gradients[1 + names.index(name)], stacked)


def test_mlp_without_hidden_layers_is_the_input() -> None:
    mlp = GroupedMLP(G, N_IN, (), layers=HiddenLayers(dropout=0.5))
    x = torch.randn(B, N_IN)
    assert torch.equal(mlp(x), x.expand(G, B, N_IN))
    assert mlp.out_features == N_IN


@pytest.mark.parametrize("loop", [True, False])
def test_autocast_keeps_half_precision(loop: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped, "_LOOP_ELEMENTS", 0 if loop else 10**9)
    torch.manual_seed(0)
    mlp = GroupedMLP(G, N_IN, HIDDEN, layers=HiddenLayers(dropout=0.0))
    x = torch.randn(B, N_IN)
    exact = mlp(x)
    with torch.autocast("cpu", torch.bfloat16):
        half = mlp(x)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), exact, atol=0.06, rtol=0.05)


def test_layer_norm_is_per_group() -> None:
    torch.manual_seed(0)
    norm = GroupedLayerNorm(G, N_IN)
    randomise(norm)
    x = torch.randn(G, B, N_IN)
    for g in range(G):
        want = nn.functional.layer_norm(x[g], (N_IN,), norm.weight[g], norm.bias[g])
        torch.testing.assert_close(norm(x)[g], want)


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    mlp = GroupedMLP(G, N_IN, HIDDEN, layers=HiddenLayers(dropout=0.5))
    x = torch.randn(B, N_IN)
    share = (mlp(x) == 0).float().mean()
    assert 0.35 < share < 0.65
    mlp.eval()
    assert torch.equal(mlp(x), mlp(x))
    assert (mlp(x) != 0).all()
