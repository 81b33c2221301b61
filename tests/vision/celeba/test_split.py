from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from recsys_mtl.vision.celeba.cache import Pixels
from recsys_mtl.vision.celeba.lists import Listed
from recsys_mtl.vision.celeba.split import CelebaSplit
from recsys_mtl.vision.images import LeftOut

NAMES = tuple(f"{number}.jpg" for number in range(7))


def make(rng: np.random.Generator, **other: Any) -> CelebaSplit:
    labels = np.array([[i % 2, i // 4, i == 5] for i in range(7)], dtype=np.int8)
    array = rng.integers(0, 256, (7, 3, 5, 5), dtype=np.uint8)
    given = {"labels": labels, "array": array, "broken": ("2.jpg",), "digest": "d", **other}
    pixels = Pixels(given["array"], tuple((n, "x") for n in given["broken"]), given["digest"])
    listed = Listed(other.get("names", NAMES), given["labels"])
    attributes = other.get("attributes", ("Male", "Young", "Bald"))
    return CelebaSplit(listed, pixels, attributes, LeftOut(7, 0, pixels.broken, 7))


def test_tasks_shape_and_length(rng: np.random.Generator) -> None:
    split = make(rng)
    assert split.shape == (3, 5, 5)
    assert len(split) == 6
    assert split.left_out == LeftOut(7, 0, (("2.jpg", "x"),), 7)
    assert [(t.name, t.classes, t.labels, t.outputs) for t in split.tasks] == [
        (name, 2, ("no", "yes"), 1) for name in ("Male", "Young", "Bald")
    ]


@pytest.mark.parametrize("indices", [[5, 0, 3, 0], [2], []])
def test_a_batch_is_normalised_and_in_the_requested_order(
    rng: np.random.Generator, indices: list[int]
) -> None:
    array = rng.integers(0, 256, (7, 3, 5, 5), dtype=np.uint8)
    split = make(rng, array=array)
    images, labels = split.batch(torch.tensor(indices, dtype=torch.int64))
    rows = [[0, 1, 3, 4, 5, 6][index] for index in indices]
    mean = np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1)
    std = np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1)
    expected = (array[rows] / 255 - mean) / std
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert images.shape == (len(indices), 3, 5, 5)
    np.testing.assert_allclose(images.numpy(), expected, rtol=1e-5, atol=1e-5)
    assert split.pixels(torch.tensor(indices, dtype=torch.int64)).tolist() == array[rows].tolist()
    assert labels.tolist() == [[row % 2, row // 4, int(row == 5)] for row in rows]


def test_an_index_beyond_the_end_is_an_error(rng: np.random.Generator) -> None:
    with pytest.raises(IndexError):
        make(rng).batch(torch.tensor([6]))


def test_the_fingerprint_follows_the_full_content_of_batches(seed: int) -> None:
    def fingerprint(**other: Any) -> str:
        return make(np.random.default_rng(seed), **other).fingerprint()

    fingerprints = [
        fingerprint(),
        fingerprint(digest="e"),
        fingerprint(attributes=("Male", "Young", "Hat")),
        fingerprint(labels=np.zeros((7, 3), dtype=np.int8)),
        fingerprint(names=("a.jpg", *NAMES[1:])),
        fingerprint(broken=("2.jpg", "3.jpg")),
        fingerprint(array=np.zeros((7, 3, 4, 4), dtype=np.uint8)),
    ]
    assert len(set(fingerprints)) == len(fingerprints)
    assert fingerprint() == fingerprints[0]
    assert len(fingerprints[0]) == 16
    assert int(fingerprints[0], 16) >= 0
