"""The images and attributes of a split of CelebA, read from decoded pixels.

Shapes: N images that can be used, B images of a batch, S × S pixels, T attributes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from recsys_mtl.vision.celeba.cache import Pixels
from recsys_mtl.vision.celeba.lists import Listed
from recsys_mtl.vision.images import ImageSplit, ImageTask, LeftOut

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Of ImageNet's red, green and blue in [0, 1], as most networks for images expect."""


class CelebaSplit(ImageSplit):
    """The images of a split that can be used, in the order of their names.

    Args:
        listed: names and labels of the images.
        pixels: of the same images; the broken ones are left out.
        attributes: names of the T tasks.
        left_out: the broken images, and those that are not in `listed`.
    """

    def __init__(
        self, listed: Listed, pixels: Pixels, attributes: Sequence[str], left_out: LeftOut
    ) -> None:
        _, channels, height, width = pixels.array.shape
        self.tasks = tuple(ImageTask(name, 2, ("no", "yes")) for name in attributes)
        self.shape = (channels, height, width)
        self.left_out = left_out
        broken = {name for name, _ in pixels.broken}
        self._rows = np.array([i for i, name in enumerate(listed.names) if name not in broken])
        self._names = tuple(listed.names[row] for row in self._rows)
        self._labels = listed.labels[self._rows]
        self._pixels = pixels
        self._mean = torch.tensor(MEAN).mul(255).view(3, 1, 1)
        self._std = torch.tensor(STD).mul(255).view(3, 1, 1)

    def __len__(self) -> int:
        """N."""
        return len(self._rows)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) float32, normalised by `MEAN` and `STD`; (B, T) int64 labels."""
        labels = torch.from_numpy(self._labels.take(indices.numpy(), axis=0))
        images = self.pixels(indices).to(torch.float32)
        return images.sub_(self._mean).div_(self._std), labels.to(torch.int64)

    def pixels(self, indices: Tensor) -> Tensor:
        """(B, 3, S, S) uint8."""
        rows, back = np.unique(self._rows.take(indices.numpy()), return_inverse=True)
        read = np.asarray(self._pixels.array[rows])  # in the order of the file
        return torch.from_numpy(read.take(back, axis=0))

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of names, pixels, attributes, labels and normalisation."""
        names = [task.name for task in self.tasks]
        settings = f"{self.shape} {self._pixels.digest} {names} {MEAN} {STD}\n"
        digest = hashlib.sha256(settings.encode())
        digest.update("\n".join(self._names).encode())
        digest.update(np.ascontiguousarray(self._labels).data)
        return digest.hexdigest()[:16]
