from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recsys_mtl.vision.backbones.resnet import BasicBlock, ResNet18

CHANNELS = {"layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}


def published_names() -> list[str]:
    """The names of torchvision's resnet18 without its head, by rule."""
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = ["conv1.weight", *(f"bn1.{n}" for n in norm)]
    for layer in CHANNELS:
        for block in (f"{layer}.0", f"{layer}.1"):
            for k in (1, 2):
                names += [f"{block}.conv{k}.weight", *(f"{block}.bn{k}.{n}" for n in norm)]
            if block.endswith(".0") and layer != "layer1":
                names += [f"{block}.downsample.0.weight"]
                names += [f"{block}.downsample.1.{n}" for n in norm]
    return names


@pytest.fixture(scope="module")
def made() -> ResNet18:
    torch.manual_seed(0)
    return ResNet18()


def test_names_and_shapes_are_the_published_ones(made: ResNet18) -> None:
    state = made.state_dict()
    assert list(state) == published_names()
    assert len(state) == 120
    assert sum(p.numel() for p in made.parameters()) == 11_176_512
    assert state["conv1.weight"].shape == (64, 3, 7, 7)
    assert state["layer1.0.conv1.weight"].shape == (64, 64, 3, 3)
    inputs = 64
    for layer, outputs in CHANNELS.items():
        assert state[f"{layer}.0.conv1.weight"].shape == (outputs, inputs, 3, 3)
        assert state[f"{layer}.1.conv2.weight"].shape == (outputs, outputs, 3, 3)
        if layer != "layer1":
            assert state[f"{layer}.0.downsample.0.weight"].shape == (outputs, inputs, 1, 1)
        inputs = outputs


def convolved(block: nn.Module, names: tuple[str, str], x: Tensor, stride: int) -> Tensor:
    """A convolution without bias, then normalisation by the batch's statistics."""
    weight, scale, shift = (
        block.get_parameter(n)
        for n in (f"{names[0]}.weight", f"{names[1]}.weight", f"{names[1]}.bias")
    )
    x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
    return F.batch_norm(x, None, None, scale, shift, training=True)


def by_the_book(block: nn.Module, x: Tensor, stride: int, *, projected: bool) -> Tensor:
    y = F.relu(convolved(block, ("conv1", "bn1"), x, stride))
    y = convolved(block, ("conv2", "bn2"), y, 1)
    names = ("downsample.0", "downsample.1")
    return F.relu(y + (convolved(block, names, x, stride) if projected else x))


@pytest.mark.parametrize(("outputs", "stride"), [(4, 1), (6, 1), (6, 2), (4, 2)])
def test_block_by_the_book(outputs: int, stride: int) -> None:
    torch.manual_seed(0)
    block = BasicBlock(4, outputs, stride=stride)
    with torch.no_grad():
        for p in block.parameters():
            p.normal_()
    x = torch.randn(3, 4, 9, 7)
    kept = x.clone()
    projected = (outputs, stride) != (4, 1)
    assert (block.downsample is not None) == projected
    torch.testing.assert_close(block(x), by_the_book(block, x, stride, projected=projected))
    assert torch.equal(x, kept)


def test_network_by_the_book(made: ResNet18) -> None:
    images = torch.randn(2, 3, 40, 33)
    x = F.relu(F.batch_norm(F.conv2d(images, made.conv1.weight, stride=2, padding=3), None, None,
                            training=True))  # fmt: skip
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    for layer in CHANNELS:
        first, second = made.get_submodule(layer).children()
        shrinks = layer != "layer1"
        x = by_the_book(first, x, 2 if shrinks else 1, projected=shrinks)
        x = by_the_book(second, x, 1, projected=False)
    expected = F.adaptive_avg_pool2d(x, 1).flatten(1)
    got = made.train()(images)
    assert got.shape == (2, made.out_features) == (2, 512)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-3)


def test_one_image_when_training_ends(made: ResNet18) -> None:
    assert made.eval()(torch.randn(1, 3, 28, 28)).shape == (1, 512)


def test_initial_weights(made: ResNet18) -> None:
    fan_out = 128 * 3 * 3
    weight = made.get_parameter("layer2.1.conv1.weight")
    assert weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.02)
    fresh = ResNet18(in_channels=2)
    assert fresh.conv1.weight.shape == (64, 2, 7, 7)
    assert torch.equal(fresh.bn1.weight, torch.ones(64))
    assert not fresh.bn1.bias.any()


def test_groups_stem_and_last_layer(made: ResNet18) -> None:
    sizes = Counter(made.group_of(name) for name, _ in made.named_parameters())
    assert sizes == {"stem": 3, "layer1": 12, "layer2": 15, "layer3": 15, "layer4": 15}
    assert made.stem() == [made.conv1, made.bn1, made.layer1]
    (last,) = made.last_shared()
    assert last is made.layer4[1].conv2.weight
