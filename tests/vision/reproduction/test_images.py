from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from recsys_mtl.errors import UserError
from recsys_mtl.vision.reproduction.images import (
    Images,
    make_backbone,
    make_network,
    open_images,
    run_seeds,
)
from recsys_mtl.vision.reproduction.plan import CelebaData, Reproduction, ResNet18Model
from tests.vision.fake_celeba import write_celeba

Make = Callable[..., Reproduction]


def test_without_mnist_the_digits_are_reported(images: Images) -> None:
    assert (len(images.train), len(images.test)) == (300, 110)
    assert images.source == "scikit-learn's digits, not MNIST"


def test_identity_is_that_of_images_and_labels(make: Make, images: Images) -> None:
    dataset = make().dataset
    assert open_images(dataset, None, seed=3).identity == images.identity
    assert open_images(dataset, None, seed=4).identity != images.identity


def test_celeba_is_measured_on_the_split_that_is_named(tmp_path: Path) -> None:
    write_celeba(tmp_path / "celeba", counts=(11, 5, 7))
    options = {"kind": "celeba", "attributes": ["Male", "Smiling"], "size": 32, "workers": 1}
    for tested, count in (("valid", 5), ("test", 7)):
        dataset = CelebaData.model_validate(options | {"tested": tested})
        images = open_images(dataset, tmp_path, seed=0)
        assert (len(images.train), len(images.test)) == (11, count)
        assert images.train.shape == (3, 32, 32)
        assert [task.name for task in images.train.tasks] == ["Male", "Smiling"]


def test_celeba_needs_a_folder() -> None:
    with pytest.raises(UserError, match=r"no folder of CelebA.*--data DIR"):
        open_images(CelebaData(kind="celeba"), None, seed=0)


def test_the_same_seed_draws_the_same_network_and_leaves_the_generator(
    make: Make, images: Images
) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one, two, three = (make_network(make().model, images, seed=seed)[0] for seed in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), before)
    pairs = zip(one.parameters(), two.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(next(one.parameters()), next(three.parameters()))


def test_seeds_of_runs_differ() -> None:
    assert run_seeds(1, 0) == run_seeds(1, 0)
    drawn = [run_seeds(seed, rerun) for seed in range(3) for rerun in range(3)]
    assert len({number for numbers in drawn for number in numbers}) == 27


def test_weights_and_a_frozen_stem_of_a_resnet(tmp_path: Path) -> None:
    model = ResNet18Model(kind="resnet18")
    torch.manual_seed(4)
    first, digest = make_backbone(model, (3, 32, 32))
    assert digest is None
    path = tmp_path / "weights.pt"
    torch.save(first.state_dict(), path)
    frozen = ResNet18Model(kind="resnet18", weights=str(path), freeze_stem=True)
    second, digest = make_backbone(frozen, (3, 32, 32))
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    learning = {name.split(".")[0] for name, p in second.named_parameters() if p.requires_grad}
    assert learning == {"layer2", "layer3", "layer4"}
