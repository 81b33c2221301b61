"""The images of a reproduction, and its networks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter

from recsys_mtl.errors import prefixed, relocated, wrong
from recsys_mtl.vision.backbones import Backbone, ResNet18, SmallCNN, freeze_stem, load_weights
from recsys_mtl.vision.celeba import load_celeba
from recsys_mtl.vision.images import ImageSplit, LeftOut
from recsys_mtl.vision.network import ImageNetwork
from recsys_mtl.vision.reproduction.plan import BackboneConfig, CelebaData, Dataset, RotMnistData
from recsys_mtl.vision.rot_mnist import load_rot_mnist

_DATASET: TypeAdapter[Dataset] = TypeAdapter(Dataset)
_DIGITS_SIZE = 8


@dataclass(frozen=True)
class Images:
    """The training and test images of a seed.

    Attributes:
        train: images to train on.
        test: images that are measured.
        source: their description.
    """

    train: ImageSplit
    test: ImageSplit
    source: str

    @property
    def identity(self) -> str:
        """Changes with the images and labels."""
        return f"{self.train.fingerprint()}-{self.test.fingerprint()}"

    @property
    def left_out(self) -> dict[str, LeftOut]:
        """The images that are not used, by split; empty for data that are always complete."""
        splits = {"training": self.train.left_out, "test": self.test.left_out}
        return {name: images for name, images in splits.items() if images is not None}


def open_images(dataset: Dataset, root: Path | None, *, seed: int) -> Images:
    """Load the images of a seed; those of the last call are kept, until `forget_images`.

    Args:
        dataset: which.
        root: folder of the data.
        seed: of the data's random draws.

    Raises:
        UserError: they are missing or damaged.
    """
    return _opened(dataset.model_dump_json(), root, seed if dataset.kind == "rot_mnist" else 0)


def forget_images() -> None:
    """The next call of `open_images` reads the files again."""
    _opened.cache_clear()


@lru_cache(maxsize=1)
def _opened(dataset: str, root: Path | None, seed: int) -> Images:
    """Sections cannot be hashed, so JSON stands for one."""
    parsed: Dataset = _DATASET.validate_json(dataset)
    if isinstance(parsed, RotMnistData):
        return _rot_mnist(parsed, root, seed)
    return _celeba(parsed, root)


def _rot_mnist(dataset: RotMnistData, root: Path | None, seed: int) -> Images:
    rows = None if dataset.rows is None else (dataset.rows.train, dataset.rows.test)
    train, test = load_rot_mnist(root, seed=seed, rows=rows)
    small = train.shape[-1] == _DIGITS_SIZE
    return Images(train, test, "scikit-learn's digits, not MNIST" if small else "MNIST")


def _celeba(dataset: CelebaData, root: Path | None) -> Images:
    if root is None:
        raise wrong(
            "no folder of CelebA", where="dataset", expected="--data DIR or $RECSYS_MTL_DATA",
            fix="download CelebA and name its folder",
        )  # fmt: skip
    inside = root / "celeba"
    train, test = (None, None) if dataset.rows is None else (dataset.rows.train, dataset.rows.test)
    splits = load_celeba(
        inside if inside.is_dir() else root,
        attributes=dataset.attributes,
        size=dataset.size,
        crop=dataset.crop,
        cache=None if dataset.cache is None else Path(dataset.cache),
        workers=dataset.workers,
        only_present=dataset.only_present,
        splits={"train": train, dataset.tested: test},
    )
    source = f"CelebA, its official train and {dataset.tested} splits"
    return Images(splits["train"], splits[dataset.tested], source)


def make_backbone(
    model: BackboneConfig, shape: tuple[int, int, int]
) -> tuple[Backbone, str | None]:
    """A backbone for (C, H, W) images, and the digest of its weights where they are from a file.

    Other weights are drawn with torch's own random numbers.

    Raises:
        UserError: too many stages, or the file of the weights is missing or of another network.
    """
    channels, height, _ = shape
    if model.kind == "small_cnn":
        with relocated("model.{}".format):
            stages = tuple(model.channels)
            return SmallCNN(channels, height, channels=stages, width=model.width), None
    backbone, digest = ResNet18(channels), None
    if model.weights is not None:
        with prefixed("model.weights"):
            digest = load_weights(backbone, Path(model.weights))
    if model.freeze_stem:
        freeze_stem(backbone)
    return backbone, digest


def make_network(
    model: BackboneConfig, images: Images, *, seed: int
) -> tuple[ImageNetwork, str | None]:
    """The network of a run, the same weights for every method; the digest of its weights' file."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone, digest = make_backbone(model, images.train.shape)
        return ImageNetwork(backbone, images.train.tasks), digest


def run_seeds(seed: int, rerun: int) -> tuple[int, int, int]:
    """Seeds of the initial weights, the order of images, and the methods' draws."""
    weights, order, draws = np.random.SeedSequence((seed, rerun)).generate_state(3)
    return int(weights), int(order), int(draws)
