from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recsys_mtl.vision.celeba.cache import DecodePlan, build
from recsys_mtl.vision.celeba.decode import ImageGeometry, decode

WIDTH, HEIGHT = 178, 218


@pytest.fixture
def noise(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def test_the_centre_square_comes_first_and_then_the_size(tmp_path: Path, noise: np.ndarray) -> None:
    Image.fromarray(noise).save(tmp_path / "a.png")
    complete = decode(tmp_path / "a.png", ImageGeometry(178, None))
    assert np.array_equal(complete, noise[20:198].transpose(2, 0, 1))
    middle = decode(tmp_path / "a.png", ImageGeometry(101, 101))
    assert np.array_equal(middle, noise[58:159, 38:139].transpose(2, 0, 1))
    half = decode(tmp_path / "a.png", ImageGeometry(50, 100)).astype(float)
    square = noise[59:159, 39:139].transpose(2, 0, 1).astype(float)
    edges = square.reshape(3, 50, 2, 50, 2).mean((2, 4))
    assert half.shape == (3, 50, 50)
    assert half.std() < 0.8 * edges.std() + 10  # antialiased: not each second pixel
    assert np.corrcoef(half.ravel(), edges.ravel())[0, 1] > 0.9


@pytest.mark.parametrize(("mode", "format_"), [("L", "JPEG"), ("CMYK", "JPEG"), ("P", "PNG")])
def test_other_colours_become_rgb(
    tmp_path: Path, noise: np.ndarray, mode: str, format_: str
) -> None:
    Image.fromarray(noise // 200 * 200).convert(mode).save(tmp_path / "a.jpg", format=format_)
    pixels = decode(tmp_path / "a.jpg", ImageGeometry(33, 178))
    assert pixels.shape == (3, 33, 33)
    assert pixels.dtype == np.uint8
    assert pixels.std() > 1
    assert (mode != "L") or np.array_equal(pixels[0], pixels[2])


def decoded(folder: Path, *names: str, crop: int | None = 178) -> tuple[np.ndarray, dict[str, str]]:
    """Pixels, and the reasons of the broken images."""
    array = folder / "array.npy"
    pixels = build(DecodePlan("train", folder, names, ImageGeometry(7, crop), array), 1)
    chunk = hashlib.sha256(pixels.array.tobytes()).digest()
    assert pixels.digest == hashlib.sha256(chunk).hexdigest()
    return pixels.array, dict(pixels.broken)


def test_broken_images_are_zeros_with_a_reason(tmp_path: Path, noise: np.ndarray) -> None:
    image = Image.fromarray(noise)
    image.save(tmp_path / "complete.jpg")
    jpeg = (tmp_path / "complete.jpg").read_bytes()
    image.save(tmp_path / "b.png")
    png = (tmp_path / "b.png").read_bytes()
    contents = {
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "head.jpg": jpeg[:40],
        "text.jpg": b"no image at all",
        "nothing.jpg": b"",
        "cut_png.jpg": png[: len(png) // 2],
        "bad_png.jpg": png[:60] + b"\0" * 40 + png[100:],
        "gif.jpg": b"GIF89a\1\0\1\0\0\0\0;",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.jpg").mkdir()
    broken_names = (*contents, "folder.jpg", "absent.jpg")
    pixels, broken = decoded(tmp_path, "complete.jpg", *broken_names)
    assert set(broken) == set(broken_names)
    assert pixels[0].any()
    assert not pixels[1:].any()
    assert broken["absent.jpg"] == "missing"
    assert broken["text.jpg"] == broken["nothing.jpg"] == "not a JPEG or PNG image"
    assert "truncated" in broken["cut.jpg"]
    assert "directory" in broken["folder.jpg"].lower()
    assert all(broken.values())


@pytest.mark.parametrize("limit", [30_000, 10_000])  # a warning of Pillow's, and an error
def test_an_image_of_too_many_pixels_is_broken(
    tmp_path: Path, noise: np.ndarray, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    Image.fromarray(noise).save(tmp_path / "a.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    _, broken = decoded(tmp_path, "a.jpg")
    assert "decompression bomb" in broken["a.jpg"]


def test_an_image_smaller_than_the_crop_is_broken(tmp_path: Path, noise: np.ndarray) -> None:
    Image.fromarray(noise).save(tmp_path / "a.jpg")
    assert decoded(tmp_path, "a.jpg", crop=200)[1] == {
        "a.jpg": "178 x 218 pixels, smaller than the crop of 200"
    }
    assert decoded(tmp_path, "a.jpg", crop=None)[1] == {}
