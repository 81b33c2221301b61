from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from recsys_mtl.vision.backbones import SmallCNN, freeze_stem
from recsys_mtl.vision.images import ImageTask
from recsys_mtl.vision.network import ImageNetwork

B, C, S, W = 11, 3, 8, 7
TASKS = (ImageTask("digit", 10), ImageTask("smiling", 2), ImageTask("hair", 4))


def network() -> ImageNetwork:
    torch.manual_seed(0)
    return ImageNetwork(SmallCNN(C, S, channels=(4, 5), width=W), TASKS)


def random_logits(rows: int) -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(rows, task.outputs, requires_grad=True) for task in TASKS]


def labels_of(rows: int) -> Tensor:
    """Every class of every task, a few unlabelled."""
    row = torch.arange(rows)
    labels = torch.stack([row % task.classes for task in TASKS], dim=1)
    labels[2::5, 0], labels[1::3, 1], labels[4::7, 2] = -1, -1, -1
    return labels


@pytest.mark.parametrize("rows", [1, B])
def test_forward_is_a_linear_layer_a_task_on_the_features(rows: int) -> None:
    made = network()
    images = torch.randn(rows, C, S, S)
    features = made.backbone(images)
    assert features.shape == (rows, W)
    logits = made(images)
    assert [tuple(z.shape) for z in logits] == [(rows, 10), (rows, 1), (rows, 4)]
    for z, again, head in zip(logits, made.heads(features), made.heads, strict=True):
        torch.testing.assert_close(z, features @ head.weight.T + head.bias)
        assert torch.equal(z, again)


def test_logits_are_float32_under_autocast() -> None:
    made = network()
    images = torch.randn(B, C, S, S)
    exact = made(images)
    with torch.autocast("cpu", torch.bfloat16):
        logits = made(images)
        losses, _ = made.task_losses(logits, labels_of(B))
    assert losses.dtype == torch.float32
    for z, expected in zip(logits, exact, strict=True):
        assert z.dtype == torch.float32
        torch.testing.assert_close(z, expected, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("rows", [1, B])
def test_losses_are_the_means_over_labelled_rows(rows: int) -> None:
    made, logits, labels = network(), random_logits(rows), labels_of(rows)
    losses, counts = made.task_losses(logits, labels)
    assert losses.dtype == torch.float32
    assert counts.tolist() == [sum(label >= 0 for label in row) for row in labels.T.tolist()]
    known = [labels[:, t] >= 0 for t in range(3)]
    expected = [
        F.cross_entropy(logits[0][known[0]], labels[known[0], 0]),
        F.binary_cross_entropy_with_logits(logits[1][known[1], 0], labels[known[1], 1].float()),
        F.cross_entropy(logits[2][known[2]], labels[known[2], 2]),
    ]
    torch.testing.assert_close(losses, torch.stack(expected))
    weights = torch.tensor([0.3, 0.5, 0.7])
    own = torch.autograd.grad(losses @ weights, logits)
    book = torch.autograd.grad(torch.stack(expected) @ weights, logits)
    for a, b in zip(own, book, strict=True):
        torch.testing.assert_close(a, b)


def test_without_unlabelled_rows_the_losses_are_torchs_own() -> None:
    logits, labels = random_logits(B), labels_of(B).clamp(min=0)
    losses, counts = network().task_losses(logits, labels)
    assert counts.tolist() == [B, B, B]
    assert losses[0].item() == pytest.approx(F.cross_entropy(logits[0], labels[:, 0]).item())
    binary = F.binary_cross_entropy_with_logits(logits[1][:, 0], labels[:, 1].float())
    assert losses[1].item() == pytest.approx(binary.item())


@pytest.mark.parametrize("rows", [1, B])
def test_tasks_without_labels_lose_nothing(rows: int) -> None:
    made = network()
    logits = made(torch.randn(rows, C, S, S))
    losses, counts = made.task_losses(logits, torch.full((rows, 3), -1))
    assert losses.tolist() == [0.0, 0.0, 0.0]
    assert counts.tolist() == [0, 0, 0]
    losses.sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


def test_unlabelled_rows_do_not_matter() -> None:
    labels = labels_of(B)
    logits = random_logits(B)
    wild = [
        torch.where(labels[:, t : t + 1] < 0, 1e30, z).detach().requires_grad_()
        for t, z in enumerate(logits)
    ]
    losses, _ = network().task_losses(wild, labels)
    torch.testing.assert_close(losses, network().task_losses(logits, labels)[0])
    for t, gradient in enumerate(torch.autograd.grad(losses.sum(), wild)):
        assert not gradient[labels[:, t] < 0].any()
        assert gradient[labels[:, t] >= 0].any(1).all()


def test_predictions_are_the_most_likely_classes() -> None:
    logits = [
        torch.eye(10)[[3, 9]],
        torch.tensor([[-0.1], [0.2]]),
        torch.tensor([[0.0, 5, 2, 1], [7, -1, 3, 4]]),
    ]
    predicted = network().predictions(logits)
    assert predicted.dtype == torch.int64
    assert predicted.tolist() == [[3, 0, 1], [9, 1, 0]]
    assert network().predictions([z[:1] for z in logits]).tolist() == [[3, 0, 1]]


def test_shared_parameters_are_those_that_learn() -> None:
    made = network()
    shared = made.shared_parameters()
    assert [(name, group) for name, group, _ in shared] == [
        ("convs.0.weight", "stage1"),
        ("convs.0.bias", "stage1"),
        ("convs.1.weight", "stage2"),
        ("convs.1.bias", "stage2"),
        ("linear.weight", "linear"),
        ("linear.bias", "linear"),
    ]
    assert all(p is made.backbone.get_parameter(name) for name, _, p in shared)
    freeze_stem(made.backbone)
    assert [name for name, _, _ in made.shared_parameters()] == [n for n, _, _ in shared[2:]]
    assert [id(p) for p in made.backbone.last_shared()] == [id(p) for _, _, p in shared[4:]]


def test_frozen_stem_stays_while_the_network_learns() -> None:
    made = network()
    freeze_stem(made.backbone)
    before = copy.deepcopy(made.state_dict())
    images, labels = torch.randn(B, C, S, S), labels_of(B)
    optimizer = torch.optim.Adam(made.parameters(), lr=0.02)
    history = []
    for _ in range(60):
        losses, _ = made.train().task_losses(made(images), labels)
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
        history.append(losses.sum().item())
    assert history[-1] < 0.3 * history[0]
    for name, value in made.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("backbone.convs.0."), name
