from __future__ import annotations

import gzip
import logging
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys_mtl.errors import UserError
from recsys_mtl.vision import rot_mnist
from recsys_mtl.vision.idx import FILE_NAMES
from recsys_mtl.vision.rot_mnist import (
    COLOUR_NAMES,
    COLOURS,
    DEGREES,
    RotMnist,
    load_rot_mnist,
)

N, S = 311, 7
DRAW = np.random.default_rng(5)
IMAGES = DRAW.integers(0, 256, (N, S, S), dtype=np.uint8)
DIGITS = DRAW.integers(0, 10, N, dtype=np.uint8)


def rotated(seed: int = 3, split: str = "train", kept: int = N, **options: object) -> RotMnist:
    return RotMnist(IMAGES[:kept], DIGITS[:kept], seed=seed, split=split, **options)


def write_mnist(folder: Path, counts: tuple[int, int] = (23, 11)) -> None:
    """The four files, gzipped, with the first images as both splits."""
    for count, names in zip(counts, (FILE_NAMES[:2], FILE_NAMES[2:]), strict=True):
        for values, name in zip((IMAGES[:count], DIGITS[:count]), names, strict=True):
            head = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
            (folder / f"{name}.gz").write_bytes(gzip.compress(head + values.tobytes()))


# --- the pixels of an image


def test_tasks_and_constants() -> None:
    digit, rotation, colour = RotMnist.tasks
    assert (digit.name, digit.classes, digit.labels) == ("digit", 10, tuple("0123456789"))
    assert (rotation.name, rotation.classes) == ("rotation", 4)
    assert rotation.labels == ("0", "90", "180", "270")
    assert (colour.name, colour.classes, colour.labels) == ("colour", 6, COLOUR_NAMES)
    assert COLOUR_NAMES == ("red", "green", "blue", "yellow", "magenta", "cyan")
    assert DEGREES == (0, 90, 180, 270)
    assert list(COLOURS.values()) == [
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
        (1, 1, 0),
        (1, 0, 1),
        (0, 1, 1),
    ]


def test_each_image_is_turned_and_painted_as_its_labels_say() -> None:
    data = rotated()
    images, labels = data.batch(torch.arange(N))
    assert len(data) == N
    assert data.shape == (3, S, S)
    assert images.shape == (N, 3, S, S)
    assert images.dtype == torch.float32
    assert labels.shape == (N, 3)
    assert labels.dtype == torch.int64
    for index, (digit, rotation, colour) in enumerate(labels.tolist()):
        assert digit == DIGITS[index]
        turned = np.rot90(IMAGES[index], rotation).astype(np.float32) / 255
        for channel, share in enumerate(COLOURS[COLOUR_NAMES[colour]]):
            assert (images[index, channel].numpy() == turned * share).all()


def test_90_degrees_are_counter_clockwise() -> None:
    corner = np.zeros((64, 4, 4), np.uint8)
    corner[:, 0, 3] = 255  # upper right
    data = RotMnist(corner, np.zeros(64, np.uint8), seed=0, split="train")
    images, labels = data.batch(torch.arange(64))
    lit = images.amax(dim=1)
    for rotation, (row, column) in enumerate([(0, 3), (0, 0), (3, 0), (3, 3)]):
        chosen = lit[labels[:, 1] == rotation]
        assert len(chosen) > 0
        assert (chosen[:, row, column] == 1).all()
        assert (chosen.sum((1, 2)) == 1).all()


@pytest.mark.parametrize("chunk", [4096, 100])
def test_batches_hold_the_pixels_of_their_indices(
    monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(rot_mnist, "_CHUNK", chunk)
    data = rotated()
    rows = torch.tensor([310, 0, 17, 17, 4])
    for indices in (rows, rows[:1], rows[:0], torch.randperm(N)):
        pixels = data.pixels(indices)
        assert pixels.dtype == torch.uint8
        assert torch.equal(data.batch(indices)[0], pixels / 255)


def test_chunks_of_the_cache_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    complete = rotated().batch(torch.arange(N))[0]
    monkeypatch.setattr("recsys_mtl.vision.rot_mnist._CHUNK", 100)
    assert torch.equal(rotated().batch(torch.arange(N))[0], complete)


def test_a_batch_is_the_callers_own() -> None:
    data = rotated()
    images, labels = data.batch(torch.arange(5))
    images.zero_()
    labels.zero_()
    again, classes = data.batch(torch.arange(5))
    assert again.any()
    assert torch.equal(classes, data.labels[:5])


# --- draws


def test_draws_depend_on_seed_and_split_only() -> None:
    drawn = rotated().labels[:, 1:]
    assert torch.equal(rotated().labels[:, 1:], drawn)
    for other in (rotated(seed=4), rotated(split="test"), rotated(seed=4, split="test")):
        agree = (other.labels[:, 1:] == drawn).double().mean(dim=0)
        assert agree[0] == pytest.approx(1 / 4, abs=0.1)
        assert agree[1] == pytest.approx(1 / 6, abs=0.1)
    swapped = RotMnist(IMAGES[::-1], DIGITS[::-1], seed=3, split="train")
    assert torch.equal(swapped.labels[:, 1:], drawn)


def test_an_image_keeps_its_draws_when_fewer_are_kept() -> None:
    complete = rotated()
    for kept in (1, 2, 101):
        images, labels = rotated(kept=kept).batch(torch.arange(kept))
        assert torch.equal(labels, complete.labels[:kept])
        assert torch.equal(images, complete.batch(torch.arange(kept))[0])


def test_all_classes_occur_equally_often_and_independently() -> None:
    count = 24_000
    digits = (np.arange(count) % 10).astype(np.uint8)
    data = RotMnist(np.zeros((count, 1, 1), np.uint8), digits, seed=0, split="train")
    digit, rotation, colour = data.labels.unbind(1)
    cells = torch.bincount((digit * 4 + rotation) * 6 + colour, minlength=240)
    expected = count / 240
    assert ((cells - expected) ** 2 / expected).sum() < 320  # chi² of 239: 1 in 3,000


def test_fingerprints_depend_on_pixels_labels_and_draws() -> None:
    pixel, digit = IMAGES.copy(), DIGITS.copy()
    pixel[9, 1, 2] ^= 1
    digit[9] = (digit[9] + 1) % 10
    options = {"seed": 3, "split": "train"}
    first = rotated().fingerprint()
    others = [
        RotMnist(pixel, DIGITS, **options),
        RotMnist(IMAGES, digit, **options),
        rotated(seed=4),
        rotated(split="test"),
        rotated(kept=N - 1),
    ]
    prints = {first, *(other.fingerprint() for other in others)}
    assert len(prints) == 6
    assert rotated().fingerprint() == first
    assert len(first) == 16
    assert int(first, 16) >= 0


# --- files and their stand-in


def test_files_are_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_mnist(tmp_path)
    train, test = load_rot_mnist(tmp_path, seed=3)
    assert not caplog.records
    assert (len(train), len(test)) == (23, 11)
    assert train.fingerprint() == rotated(kept=23).fingerprint()
    assert test.fingerprint() == rotated(split="test", kept=11).fingerprint()


@pytest.mark.parametrize(("rows", "kept"), [((5, 3), (5, 3)), ((99, 1), (23, 1))])
def test_the_first_rows_are_kept(
    tmp_path: Path, rows: tuple[int, int], kept: tuple[int, int]
) -> None:
    write_mnist(tmp_path)
    train, test = load_rot_mnist(tmp_path, seed=3, rows=rows)
    assert (len(train), len(test)) == kept
    assert train.fingerprint() == rotated(kept=kept[0]).fingerprint()


def test_missing_and_unequal_files_are_reported(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    labels = tmp_path / f"{FILE_NAMES[1]}.gz"
    labels.write_bytes((tmp_path / f"{FILE_NAMES[3]}.gz").read_bytes())
    with pytest.raises(UserError, match="images and labels do not belong together"):
        load_rot_mnist(tmp_path, seed=3)
    labels.unlink()
    with pytest.raises(UserError, match=f"missing {FILE_NAMES[1]}"):
        load_rot_mnist(tmp_path, seed=3)


@pytest.mark.parametrize("given", [True, False])
def test_without_files_small_digits_are_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, given: bool
) -> None:
    root = tmp_path if given else None
    with caplog.at_level(logging.INFO, "recsys_mtl.vision.rot_mnist"):
        train, test = load_rot_mnist(root, seed=8)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    message = caplog.records[0].getMessage()
    assert "\n" not in message
    assert all(name in message for name in FILE_NAMES)
    assert (str(tmp_path) if given else "none is set") in message
    assert (len(train), len(test)) == (1437, 360)
    assert train.shape == test.shape == (3, 8, 8)
    for data in (train, test):
        images, labels = data.batch(torch.arange(len(data)))
        assert images.min() == 0
        assert images.max() == 1
        shares = torch.bincount(labels[:, 0], minlength=10) / len(data)
        assert torch.allclose(shares, torch.full((10,), 0.1), atol=0.005)


def test_the_stand_ins_splits_do_not_depend_on_the_seed() -> None:
    one, other = (load_rot_mnist(None, seed=seed)[1] for seed in (0, 1))
    assert torch.equal(one.labels[:, 0], other.labels[:, 0])
    assert not torch.equal(one.labels[:, 1:], other.labels[:, 1:])


def test_the_real_files(real_data: Path) -> None:
    if not (real_data / "mnist").is_dir():
        pytest.skip("RECSYS_MTL_DATA has no folder mnist")
    train, test = load_rot_mnist(real_data, seed=0)
    assert (len(train), len(test)) == (60_000, 10_000)
    assert train.shape == (3, 28, 28)
    assert train.labels[:4, 0].tolist() == [5, 0, 4, 1]
    assert test.labels[:4, 0].tolist() == [7, 2, 1, 0]
    images, _ = train.batch(torch.arange(256))
    assert images.max() == 1
    assert 0.05 < images.amax(dim=1).mean() < 0.2
