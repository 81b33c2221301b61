"""A small CelebA in the official layout, or in that of its CSV variants, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 178, 218
# Eight of the forty; the real list has them in this order, too.
ATTRIBUTES = (
    "5_o_Clock_Shadow",
    "Arched_Eyebrows",
    "Attractive",
    "Bald",
    "Eyeglasses",
    "Male",
    "Smiling",
    "Young",
)


@dataclass(frozen=True)
class FakeCeleba:
    """What was written.

    Attributes:
        root: folder of the data set.
        images: folder of the images.
        names: of the N files.
        splits: (N,) 0 train, 1 valid, 2 test.
        labels: (N, A) 0 no, 1 yes.
    """

    root: Path
    images: Path
    names: tuple[str, ...]
    splits: NDArray[np.int64]
    labels: NDArray[np.int64]

    def of(self, split: int) -> list[str]:
        """Names of a split's files."""
        return [self.names[i] for i in np.flatnonzero(self.splits == split)]

    def labels_of(self, split: int, *attributes: str) -> NDArray[np.int64]:
        """Labels of a split, by the names of the attributes."""
        columns = [ATTRIBUTES.index(name) for name in attributes]
        return self.labels[np.ix_(self.splits == split, columns)]


def write_celeba(
    root: Path,
    *,
    counts: Sequence[int] = (11, 5, 7),
    seed: int = 0,
    csv: bool = False,
    images: str = "img_align_celeba",
    lists: tuple[str, str] = ("", ""),
) -> FakeCeleba:
    """Writes images with smooth colours and drawn attributes.

    Args:
        root: folder to write to.
        counts: images of train, valid and test; they follow each other, as in the real lists.
        seed: of colours and attributes.
        csv: the lists as the CSV variants have them.
        images: folder of the images, below the root.
        lists: folders of the attributes and of the partition, below the root.
    """
    rng = np.random.default_rng(seed)
    names = tuple(f"{number:06}.jpg" for number in range(1, sum(counts) + 1))
    splits = np.repeat(np.arange(3), counts)
    labels = rng.integers(0, 2, (len(names), len(ATTRIBUTES)))
    folder = root / images
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        coarse = rng.integers(0, 256, (4, 3, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        image.save(folder / name, quality=90)
    attributes, partition = (root / path for path in lists)
    for path in (attributes, partition):
        path.mkdir(parents=True, exist_ok=True)
    if csv:
        _write_csv(attributes, partition, names, splits, labels)
    else:
        _write_text(attributes, partition, names, splits, labels)
    return FakeCeleba(root, folder, names, splits, labels)


def _write_text(
    attributes: Path,
    partition: Path,
    names: Sequence[str],
    splits: NDArray[np.int64],
    labels: NDArray[np.int64],
) -> None:
    lines = [str(len(names)), " ".join(ATTRIBUTES) + " "]
    for name, row in zip(names, labels, strict=True):
        lines.append(f"{name} " + " ".join("-1" if label == 0 else " 1" for label in row))
    (attributes / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    pairs = [f"{name} {split}" for name, split in zip(names, splits, strict=True)]
    (partition / "list_eval_partition.txt").write_text("\n".join(pairs) + "\n")


def _write_csv(
    attributes: Path,
    partition: Path,
    names: Sequence[str],
    splits: NDArray[np.int64],
    labels: NDArray[np.int64],
) -> None:
    lines = [",".join(("image_id", *ATTRIBUTES))]
    for name, row in zip(names, labels, strict=True):
        lines.append(",".join((name, *(str(2 * label - 1) for label in row))))
    (attributes / "list_attr_celeba.csv").write_text("\n".join(lines) + "\n")
    pairs = [f"{name},{split}" for name, split in zip(names, splits, strict=True)]
    (partition / "list_eval_partition.csv").write_text("\n".join(("image_id,partition", *pairs)))
