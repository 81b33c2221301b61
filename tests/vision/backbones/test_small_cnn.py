from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from recsys_mtl.errors import UserError
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
    groups = [made.group_of(name) for name, _ in made.named_parameters()]
    assert groups == [*["stage1"] * 2, *["stage2"] * 2, *["linear"] * 2]
    weight, bias = made.last_shared()
    assert weight is made.linear.weight
    assert bias is made.linear.bias
    assert made.stem() == [made.convs[0]]


def test_stages_must_fit_the_image() -> None:
    with pytest.raises(UserError, match=r"images of 8 pixels.*expected at most 3; found 4"):
        SmallCNN(3, 8, channels=(2, 3, 4, 5))
