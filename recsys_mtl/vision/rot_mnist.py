"""Rotated, coloured digits: each image of MNIST rotated and coloured, for three tasks.

Shapes: N images, B images of a batch, S × S pixels, T = 3 tasks (digit, rotation, colour).
"""

from __future__ import annotations

import hashlib
import logging
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

from recsys_mtl.vision.idx import FILE_NAMES, SPLITS, Bytes, Pair, SplitName, read_mnist
from recsys_mtl.vision.images import ImageSplit, ImageTask

log = logging.getLogger(__name__)

DEGREES = (0, 90, 180, 270)
"""Counter-clockwise rotation of each class, as `numpy.rot90` turns."""
COLOURS = {
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "yellow": (1, 1, 0),
    "magenta": (1, 0, 1),
    "cyan": (0, 1, 1),
}
"""Name and RGB of each class, in order; the gray value is multiplied by it."""
COLOUR_NAMES = tuple(COLOURS)
_CHUNK = 4096  # images that are painted at once


class RotMnist(ImageSplit):
    """Digits of one split, each with a rotation and a colour drawn for its index in the split.

    The draws depend on the seed, the split and the index only, not on the digit nor on how many
    images follow.

    Attributes:
        labels: (N, 3) int64 classes: digit, rotation, colour.
    """

    tasks = (
        ImageTask("digit", 10, tuple(str(digit) for digit in range(10))),
        ImageTask("rotation", len(DEGREES), tuple(str(angle) for angle in DEGREES)),
        ImageTask("colour", len(COLOURS), COLOUR_NAMES),
    )

    left_out = None

    def __init__(self, images: Bytes, digits: Bytes, *, seed: int, split: SplitName) -> None:
        """Draws the rotations and colours.

        Args:
            images: (N, S, S) gray values.
            digits: (N,) each below 10.
            seed: of the draws, not negative.
            split: of the draws; the same seed gives train and test different ones.
        """
        count, size = len(images), images.shape[-1]
        self.shape = (3, size, size)
        self._gray = np.ascontiguousarray(images).reshape(count, size * size)
        streams = np.random.SeedSequence(seed, spawn_key=(SPLITS.index(split),)).spawn(2)
        drawn = [
            np.random.default_rng(stream).integers(0, task.classes, count)
            for stream, task in zip(streams, self.tasks[1:], strict=True)
        ]
        self.labels = torch.from_numpy(np.stack([digits.astype(np.int64), *drawn], axis=1))
        pixels = np.arange(size * size).reshape(size, size)
        turns = [np.rot90(pixels, angle // 90).ravel() for angle in DEGREES]
        self._turns = torch.from_numpy(np.stack(turns))  # (4, S²) where each pixel comes from
        self._colours = torch.tensor(list(COLOURS.values()), dtype=torch.uint8)

    def __len__(self) -> int:
        """N."""
        return len(self._gray)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) float32 images in [0, 1]; (B, 3) int64 labels."""
        painted = _take(self._painted, indices)
        return painted.to(torch.float32).div_(255), _take(self.labels, indices)

    def pixels(self, indices: Tensor) -> Tensor:
        """(B, 3, S, S) uint8: the images rotated and coloured."""
        gray = torch.from_numpy(self._gray.take(indices.numpy(), axis=0))
        _, rotations, colours = _take(self.labels, indices).unbind(1)
        turned = gray.gather(1, self._turns[rotations])
        return (self._colours[colours, :, None] * turned[:, None]).view(-1, *self.shape)

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of pixels, labels, rotations and colours."""
        digest = hashlib.sha256(f"{len(self)} {self.shape} {DEGREES} {COLOURS}\n".encode())
        digest.update(self._gray.data)
        digest.update(self.labels.numpy().data)
        return digest.hexdigest()[:16]

    @cached_property
    def _painted(self) -> Tensor:
        """(N, 3, S, S) uint8: all images, from the first batch on."""
        painted = torch.empty((len(self), *self.shape), dtype=torch.uint8)
        for rows in torch.split(torch.arange(len(self)), _CHUNK):
            painted[rows[0] : rows[0] + _CHUNK] = self.pixels(rows)
        return painted


def load_rot_mnist(
    root: Path | None, *, seed: int, rows: tuple[int, int] | None = None
) -> tuple[RotMnist, RotMnist]:
    """Train and test images from the four MNIST files, gzipped or not.

    See `read_mnist` for their folders. Without any of them, or without a root, a warning is
    logged and scikit-learn's 1,797 scanned digits of 8 × 8 pixels are used instead.

    Args:
        root: folder of the data.
        seed: of the rotations and colours; see `RotMnist`.
        rows: how many train and test images to keep at most, the first ones.

    Raises:
        UserError: some of the four files are missing, a file is broken, or images and labels do
            not belong together.
    """
    pairs = read_mnist(root) or _digits(root)
    train, test = (
        RotMnist(images[:kept], digits[:kept], seed=seed, split=split)
        for split, (images, digits), kept in zip(SPLITS, pairs, rows or (None, None), strict=True)
    )
    return train, test


def _digits(root: Path | None) -> tuple[Pair, Pair]:
    """Scikit-learn's digits, a fifth of each digit as the test split, always the same."""
    log.warning(
        "no MNIST files in %s: 1,797 digits of 8 x 8 pixels from scikit-learn are used instead; "
        "MNIST needs %s there (or in mnist/ or MNIST/raw/), each as it is or with .gz",
        root or "a data folder (none is set)",
        ", ".join(FILE_NAMES),
    )
    images, digits = load_digits(return_X_y=True)
    gray = np.rint(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)  # from 0 to 16
    kept, held, kept_digits, held_digits = train_test_split(
        gray, digits.astype(np.uint8), test_size=0.2, stratify=digits, random_state=0
    )
    return (kept, kept_digits), (held, held_digits)


def _take(values: Tensor, rows: Tensor) -> Tensor:
    """The given rows of a CPU tensor, by NumPy as in `recsys_mtl.data.batch`."""
    return torch.from_numpy(values.numpy().take(rows.numpy(), axis=0))
