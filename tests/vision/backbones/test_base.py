from __future__ import annotations

import copy

import pytest
import torch

from recsys_mtl.vision.backbones import Backbone, ResNet18, SmallCNN, freeze_stem


def backbone(name: str) -> Backbone:
    torch.manual_seed(0)
    return ResNet18() if name == "resnet" else SmallCNN(3, 12, channels=(4, 5), width=7)


def learn(made: Backbone) -> None:
    """Two steps on random images."""
    optimizer = torch.optim.SGD([p for p in made.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        made(torch.randn(2, 3, 12, 12)).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("name", "stem"),
    [("resnet", ("conv1.", "bn1.", "layer1.")), ("small", ("convs.0.",))],
)
def test_frozen_stem_stays_while_the_rest_learns(name: str, stem: tuple[str, ...]) -> None:
    made = backbone(name)
    freeze_stem(made)
    before = copy.deepcopy(made.state_dict())
    learn(made.train())
    for key, value in made.state_dict().items():
        assert torch.equal(value, before[key]) == key.startswith(stem), key
    for key, parameter in made.named_parameters():
        assert (parameter.grad is None) == key.startswith(stem), key


def test_without_freezing_everything_learns() -> None:
    made = backbone("resnet")
    before = copy.deepcopy(made.state_dict())
    learn(made)
    assert not any(torch.equal(value, before[key]) for key, value in made.state_dict().items())


def test_mode_of_a_frozen_stem_survives_copies_and_switches() -> None:
    made = backbone("resnet")
    freeze_stem(made)
    for one in (made, copy.deepcopy(made)):
        one.eval()
        assert not any(module.training for module in one.modules())
        assert one.train() is one
        training = {name for name, module in one.named_modules() if module.training}
        assert not training & {"conv1", "bn1", "layer1", "layer1.0.bn1", "layer1.1.bn2"}
        assert {"", "layer2.0.bn1", "layer2.0.downsample.1", "layer4.1.bn2"} <= training
    eval_first = backbone("resnet").eval()
    freeze_stem(eval_first)
    assert not eval_first.training
