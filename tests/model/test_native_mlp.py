"""The native kernel beside torch's operations."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from recsys_mtl.model import HiddenLayers, grouped
from recsys_mtl.model.grouped import GroupedMLP
from recsys_mtl.model.native_mlp import usable_kernels
from recsys_mtl.native import kernels, library
from recsys_mtl.native.hidden import HiddenKernel

pytestmark = pytest.mark.skipif(kernels() is None, reason="the kernels are not built")

G, B, N_IN, HIDDEN = 3, 13, 5, (37, 6)
MOST = {torch.float32: (1e-6, 5e-6), torch.bfloat16: (0.02, 0.06)}
"""Largest difference of outputs and gradients, relative to the largest value."""


def network(layers: HiddenLayers) -> GroupedMLP:
    torch.manual_seed(0)
    mlp = GroupedMLP(G, N_IN, HIDDEN, layers)
    with torch.no_grad():
        for p in mlp.parameters():
            p.normal_()
    return mlp


def inputs(shared: bool, rows: int = B) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(rows, N_IN) if shared else torch.randn(G, rows, N_IN)


def results(mlp: GroupedMLP, x: Tensor, dtype: torch.dtype) -> list[Tensor]:
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        y = mlp(x)
    assert y.dtype == dtype
    torch.manual_seed(2)
    return [y, *torch.autograd.grad(y, [x, *mlp.parameters()], torch.randn(y.shape).to(dtype))]


def assert_near(ours: list[Tensor], theirs: list[Tensor], dtype: torch.dtype) -> None:
    for index, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        most = MOST[dtype][index > 0]
        assert a.dtype == b.dtype
        assert (a - b).abs().max() <= most * b.abs().max(), index


@pytest.mark.parametrize("loop", [True, False])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("dtype", MOST)
@pytest.mark.parametrize(
    "layers", [HiddenLayers("layer", "silu", 0.0), HiddenLayers("none", "relu", 0.0),
               HiddenLayers("layer", "relu", 0.0), HiddenLayers("none", "silu", 0.0)]
)  # fmt: skip
def test_outputs_and_gradients_are_torchs(
    layers: HiddenLayers, dtype: torch.dtype, shared: bool, loop: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(grouped, "_LOOP_ELEMENTS", 0 if loop else 10**9)
    mlp, x = network(layers), inputs(shared)
    ours = results(mlp, x, dtype)
    monkeypatch.setattr(grouped, "usable_kernels", lambda x: None)
    assert_near(ours, results(mlp, x, dtype), dtype)


def philox(counters: np.ndarray, key: int) -> np.ndarray:
    """(N, 4) words of Philox 4x32-10, literally."""
    c = [counters[:, i].astype(np.uint64) for i in range(4)]
    k = [key & 0xFFFFFFFF, key >> 32 & 0xFFFFFFFF]
    for _ in range(10):
        p, q = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        high, low = np.uint64(32), np.uint64(0xFFFFFFFF)
        c = [
            q >> high ^ c[1] ^ np.uint64(k[0]),
            q & low,
            p >> high ^ c[3] ^ np.uint64(k[1]),
            p & low,
        ]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return np.stack(c, 1).astype(np.uint32)


def test_philox_is_the_published_one() -> None:
    ones = np.full((1, 4), 0xFFFFFFFF)
    words = philox(np.concatenate([np.zeros((1, 4)), ones]).astype(np.uint32)[:1], 0)
    assert [f"{word:08x}" for word in words[0]] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]
    words = philox(ones.astype(np.uint32), 2**64 - 1)
    assert [f"{word:08x}" for word in words[0]] == ["408f276d", "41c83b0e", "a20bc7c6", "6d5451fd"]


def kept(seed: int, layer: int, rows: int, width: int, dropped: int) -> Tensor:
    """(G, rows, width) of which elements stay."""
    blocks = -(-width // 16)
    index = np.arange(rows * blocks)
    masks = []
    for group in range(G):
        counters = np.stack([index, 0 * index, 0 * index + group, 0 * index + layer], 1)
        drawn = philox(counters, seed).view(np.uint8).reshape(rows, blocks * 16)
        masks.append(drawn[:, :width] >= dropped)
    return torch.from_numpy(np.stack(masks))


@pytest.mark.parametrize("rows", [B, 300])
def test_dropout_is_philox_in_both_passes(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped, "_LOOP_ELEMENTS", 0)
    mlp, x, p = network(HiddenLayers(dropout=0.3)), inputs(False, rows), round(0.3 * 256)
    torch.manual_seed(5)
    seed = int(torch.empty((), dtype=torch.int64).random_(-(2**63), None)) % 2**64
    torch.manual_seed(5)
    ours = results(mlp, x, torch.float32)
    masks = iter(kept(seed, n, rows, width, p) for n, width in enumerate(HIDDEN))
    monkeypatch.setattr(grouped, "usable_kernels", lambda x: None)
    monkeypatch.setattr(grouped, "_LOOP_ELEMENTS", 10**9)  # all groups at once
    monkeypatch.setattr(
        grouped, "dropout", lambda h, _, training: h * next(masks) * 256 / (256 - p)
    )
    assert_near(ours, results(mlp, x, torch.float32), torch.float32)


@pytest.mark.parametrize("loop", [True, False])
def test_neither_threads_nor_recorded_gradients_change_a_bit(
    loop: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouped, "_LOOP_ELEMENTS", 0 if loop else 10**9)
    mlp, x = network(HiddenLayers()), inputs(True, 700)
    seen = []
    for threads, recorded in ((1, True), (2, True), (1, False)):
        mlp.requires_grad_(recorded)
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        torch.manual_seed(3)
        seen.append(mlp(x).detach())
        torch.set_num_threads(before)
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])


@pytest.mark.parametrize("loop", [True, False])
def test_each_gradient_alone_of_gradients(loop: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped, "_LOOP_ELEMENTS", 0 if loop else 10**9)
    mlp, x = network(HiddenLayers(dropout=0.0)), inputs(True)
    every = results(mlp, x, torch.float32)[1:]
    wanted = [x.requires_grad_(), *mlp.parameters()]
    torch.manual_seed(2)
    y = mlp(x)
    cotangent = torch.randn(y.shape)
    for tensor, gradient in zip(wanted, every, strict=True):
        (own,) = torch.autograd.grad(y, [tensor], cotangent, retain_graph=True)
        torch.testing.assert_close(own, gradient)


def test_a_second_derivative_is_refused() -> None:
    x = inputs(True).requires_grad_()
    y = network(HiddenLayers())(x)
    with pytest.raises(RuntimeError, match="RECSYS_MTL_NATIVE=0"):
        torch.autograd.grad(y.sum(), x, create_graph=True)


def test_what_is_not_finite_stays_so() -> None:
    mlp, x = network(HiddenLayers(dropout=0.0)), inputs(True)
    x[3, 2] = float("nan")
    finite = torch.isfinite(mlp(x)).all(-1).all(0)
    assert finite.tolist() == [row != 3 for row in range(B)]


def test_where_torch_computes() -> None:
    x = torch.randn(2, 3)
    assert usable_kernels(x) is not None
    assert usable_kernels(x.double()) is None
    with torch.no_grad():
        assert usable_kernels(x) is None
    assert usable_kernels(x.to("meta")) is None
    assert usable_kernels(torch.nn.Parameter(x)) is None
    with torch.autograd.forward_ad.dual_level():
        assert usable_kernels(x) is None
    with torch.autocast("cpu", torch.float16):
        assert usable_kernels(x) is None
    mlp = network(HiddenLayers()).eval()
    each = torch.func.vmap(lambda row: mlp(row.unsqueeze(0))[:, 0], out_dims=1)
    rows = inputs(True)
    torch.testing.assert_close(each(rows), mlp(rows))


def test_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(library.SWITCH, "0")
    assert kernels.__wrapped__() is None
    assert library.described() == "off by RECSYS_MTL_NATIVE=0"
    monkeypatch.setattr(library, "_file", lambda variant: None)
    assert library.described().startswith("none: install")


def test_a_library_of_other_sources_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    built = library.best()
    if built is None:
        pytest.skip("no library is built")
    source = tmp_path / "hidden.c"
    source.write_bytes(library._SOURCE.read_bytes() + b" ")
    monkeypatch.setattr(library, "_SOURCE", source)
    library._warn_of_other_sources.cache_clear()
    assert library.best() is None
    assert library.best() is None
    assert len(caplog.messages) == 1
    assert "built from other sources" in caplog.text
    monkeypatch.setattr(library, "_SOURCE", tmp_path / "not in a wheel.c")
    assert library.best() is not None


@pytest.mark.parametrize("variant", library.VARIANTS)
def test_every_instruction_set(variant: str) -> None:
    used = kernels()
    assert used is not None
    if library.VARIANTS.index(variant) > library.VARIANTS.index(used.variant):
        pytest.skip("this processor does not have it")
    file = library._file(variant)
    assert file is not None
    hidden = ctypes.CDLL(str(file)).recsys_hidden
    hidden.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p]
    torch.manual_seed(0)
    z, out, moments = torch.randn(1, B, 300), torch.empty(1, B, 300), torch.empty(2, 1, B)
    bias, gain, shift = torch.randn(3, 1, 300)
    own = library.Kernels(variant, hidden, None)
    HiddenKernel(own, False, 0, 0, torch.tensor(0), bias, (gain, shift)).forward(
        z, out, moments, 0, 1
    )
    want = F.silu(F.layer_norm(z[0] + bias[0], (300,), gain[0], shift[0]))
    torch.testing.assert_close(out[0], want, rtol=2e-6, atol=2e-6)
