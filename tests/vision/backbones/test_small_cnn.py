from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from recsys_mtl.vision.backbones import SmallCNN


@pytest.mark.parametrize("rows", [1, 6])
@pytest.mark.parametrize("size", [28, 8, 13])
def test_is_convolution_relu_and_pooling_by_the_book(rows: int, size: int) -> None:
    torch.manual_seed(0)
    made = SmallCNN(3, size, channels=(4, 5), width=7)
    images = torch.randn(rows, 3, size, size)
    x = images
    for conv in made.convs:
        x = F.max_pool2d(F.relu(F.conv2d(x, conv.weight, conv.bias, padding=1)), 2)
    expected = F.relu(x.reshape(rows, -1) @ made.linear.weight.T + made.linear.bias)
    got = made(images)
    assert got.shape == (rows, 7)
    torch.testing.assert_close(got, expected)
    own = torch.autograd.grad(got.square().sum(), list(made.parameters()))
    book = torch.autograd.grad(expected.square().sum(), list(made.parameters()))
    for a, b in zip(own, book, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_sizes_and_names() -> None:
    made = SmallCNN(1, 28)
    assert made.out_features == 64
    assert made(torch.randn(2, 1, 28, 28)).shape == (2, 64)
    assert sum(p.numel() for p in made.parameters()) == 160 + 4640 + 32 * 7 * 7 * 64 + 64
    assert [(group, [name for name, _ in named]) for group, named in made.groups()] == [
        ("stage1", ["convs.0.weight", "convs.0.bias"]),
        ("stage2", ["convs.1.weight", "convs.1.bias"]),
        ("linear", ["linear.weight", "linear.bias"]),
    ]
    weight, bias = made.last_shared()
    assert weight is made.linear.weight
    assert bias is made.linear.bias
    assert made.stem() == [made.convs[0]]


@pytest.mark.parametrize("channels", [(), (2, 3, 4, 5)])
def test_stages_must_fit_the_image(channels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"halve 8 pixels, found {len(channels)}"):
        SmallCNN(3, 8, channels=channels)
