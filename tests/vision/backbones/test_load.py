from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from recsys_mtl.errors import UserError
from recsys_mtl.vision.backbones import SmallCNN, load_weights

State = dict[str, Tensor]


def network(seed: int) -> nn.Module:
    """A backbone in small: a convolution, its normalisation, a linear layer."""
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(4, 5))
    made(torch.randn(6, 2, 5, 6))
    return made


def same(a: State, b: State) -> bool:
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


def save(state: State, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("name", ["w.safetensors", "w.SAFETENSORS", "w.pth", "w"])
def test_round_trip(tmp_path: Path, name: str) -> None:
    source, target = network(1), network(2)
    path = tmp_path / name
    if path.suffix == ".SAFETENSORS":
        save(source.state_dict(), path.with_suffix(".safetensors")).rename(path)
    else:
        save(source.state_dict(), path)
    assert not same(source.state_dict(), target.state_dict())
    load_weights(target, path)
    assert same(source.state_dict(), target.state_dict())


def test_round_trip_of_a_backbone(tmp_path: Path) -> None:
    source, target = (SmallCNN(3, 9, channels=(4,), width=5) for _ in range(2))
    load_weights(target, save(source.state_dict(), tmp_path / "w.safetensors"))
    images = torch.randn(2, 3, 9, 9)
    assert torch.equal(source(images), target(images))


def test_head_wrapping_and_old_files(tmp_path: Path) -> None:
    source, target = network(1), network(2)
    state = source.state_dict()
    counter = state.pop("1.num_batches_tracked")
    state["fc.weight"], state["fc.bias"] = torch.ones(7, 4), torch.ones(7)
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "w.pth")
    load_weights(target, tmp_path / "w.pth")
    assert same({**source.state_dict(), "1.num_batches_tracked": counter}, target.state_dict())


def test_numbers_are_taken_in_the_precision_of_the_backbone(tmp_path: Path) -> None:
    source, target = network(1).to(torch.bfloat16), network(2)
    load_weights(target, save(source.state_dict(), tmp_path / "w.pth"))
    assert target.get_parameter("0.weight").dtype == torch.float32
    assert torch.equal(target.get_parameter("0.weight"), source.get_parameter("0.weight").float())


def renamed(state: State) -> State:
    return {f"module.{name}": value for name, value in state.items()}


def without_bias(state: State) -> State:
    return {name: value for name, value in state.items() if name != "2.bias"}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("change", "needle"),
    [
        (
            renamed,
            "found 8 missing: 0.weight, 0.bias, 1.weight, …; "
            r"9 unexpected: (module\.[01]\.\w+, ){3}… ->",
        ),
        (without_bias, "found 1 missing: 2.bias ->"),
        (lambda s: {**s, "x": torch.ones(1)}, "found 1 unexpected: x ->"),
        (
            lambda s: {**s, "2.weight": torch.ones(5, 6)},
            r"found 1 of another shape: 2.weight float32 \(5, 6\) instead of float32 \(5, 4\) ->",
        ),
        (
            lambda s: {**s, "2.bias": torch.ones(5, dtype=torch.int8)},
            r"found 1 of another shape: 2.bias int8 \(5,\) instead of float32 \(5,\) ->",
        ),
        (
            lambda s: {name: torch.ones(9, 8) for name in s},
            r"found 9 of another shape: 0.weight float32 \(9, 8\) .*, 0.bias .*, 1.weight .*, … ->",
        ),
    ],
)
def test_weights_of_another_network(
    tmp_path: Path, suffix: str, change: Callable[[State], State], needle: str
) -> None:
    target = network(2)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    path = save(change(network(1).state_dict()), tmp_path / f"w{suffix}")
    with pytest.raises(UserError, match=needle) as error:
        load_weights(target, path)
    assert str(error.value).startswith(f"{path}: weights of another")
    assert "\n" not in str(error.value)
    assert same(before, target.state_dict())


def test_tensors_without_plain_numbers_do_not_fit(tmp_path: Path) -> None:
    target = network(2)
    for odd in (torch.ones(5).to_sparse(), torch.ones(5, device="meta"), torch.ones(5) * 1j):
        path = save({**network(1).state_dict(), "2.bias": odd}, tmp_path / "w.pth")
        with pytest.raises(UserError, match=r"of another shape: 2\.bias"):
            load_weights(target, path)


class Code:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("by_torch", [True, False])
def test_code_in_a_file_is_not_run(tmp_path: Path, suffix: str, by_torch: bool) -> None:
    proof, path = tmp_path / "ran", tmp_path / f"w{suffix}"
    content = {**network(1).state_dict(), "extra": Code(proof)}
    if by_torch:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=r"w\..*: cannot read the weights.*never loaded") as error:
        load_weights(network(2), path)
    assert "\n" not in str(error.value)
    assert not proof.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_truncated_files(tmp_path: Path, suffix: str, kept: float) -> None:
    path = save(network(1).state_dict(), tmp_path / f"w{suffix}")
    stored = path.read_bytes()
    path.write_bytes(stored[: int(len(stored) * kept)])
    with pytest.raises(UserError, match="cannot read the weights"):
        load_weights(network(2), path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"<!doctype html>", b"\x00" * 999, b"\xff\xfe" * 40, b"{}"])
def test_files_of_another_kind(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot read the weights"):
        load_weights(network(2), path)


@pytest.mark.parametrize(
    ("content", "needle"),
    [
        ([torch.ones(2)], "found list"),
        (torch.ones(2), "found Tensor"),
        ({"epoch": 3, "model": {}}, r"found epoch \(int\), model \(dict\)"),
        ({"state_dict": 3}, r"found state_dict \(int\)"),
        ({"state_dict": {"a": "b"}}, r"found a \(str\)"),
    ],
)
def test_not_a_state_dict(tmp_path: Path, content: object, needle: str) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match=f"not a state dict.*{needle}"):
        load_weights(network(2), tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["", "none.pth", "none.safetensors"])
def test_no_such_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="no such file of weights"):
        load_weights(network(2), tmp_path / name)
