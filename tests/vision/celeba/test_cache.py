from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys_mtl import progress
from recsys_mtl.files import TEMPORARY
from recsys_mtl.vision.celeba import cache
from recsys_mtl.vision.celeba.cache import DecodePlan, build, cached
from recsys_mtl.vision.celeba.decode import ImageGeometry, decode
from tests.vision.fake_celeba import FakeCeleba


def plan_of(celeba: FakeCeleba, **other: Any) -> DecodePlan:
    settings = {"geometry": ImageGeometry(9, 178), "names": celeba.names, **other}
    array = celeba.root / "cache" / "part.npy"
    return DecodePlan("train", celeba.images, array=array, **settings)


def test_the_array_holds_each_image_in_order(celeba: FakeCeleba) -> None:
    plan = plan_of(celeba)
    assert cached(plan) is None
    pixels = build(plan, 1)
    assert pixels.array.shape == (23, 3, 9, 9)
    for index, name in enumerate(celeba.names):
        assert np.array_equal(pixels.array[index], decode(celeba.images / name, plan.geometry))
    assert isinstance(pixels.array, np.memmap)
    content = json.loads(plan.sidecar.read_text())
    assert (content["size"], content["crop"], content["images"]) == (9, 178, 23)
    again = cached(plan_of(celeba))
    assert again is not None
    assert (again.digest, again.broken) == (pixels.digest, ())
    assert np.array_equal(again.array, pixels.array)
    assert {path.name for path in plan.array.parent.iterdir()} == {"part.npy", "part.json"}


def test_chunks_do_not_change_the_pixels(
    celeba: FakeCeleba, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    complete = build(plan_of(celeba), 1)
    expected = np.array(complete.array)
    monkeypatch.setattr(cache, "_CHUNK_BYTES", 2 * 3 * 9 * 9 + 5)
    caplog.set_level(logging.INFO)
    caplog.clear()
    pixels = build(plan_of(celeba), 2)
    assert np.array_equal(pixels.array, expected)
    assert len(caplog.messages) == 12
    assert caplog.messages[-1].startswith("decoding train: 23 of 23 images")


def test_broken_images_are_remembered(celeba: FakeCeleba) -> None:
    (celeba.images / celeba.names[3]).unlink()
    (celeba.images / celeba.names[7]).write_bytes(b"text")
    plan = plan_of(celeba)
    assert plan.missing == ((celeba.names[3], "missing"),)
    pixels = build(plan, 1)
    again = cached(plan)
    assert again is not None
    assert again.broken == pixels.broken
    assert [name for name, _ in again.broken] == [celeba.names[3], celeba.names[7]]


def replaced(celeba: FakeCeleba) -> DecodePlan:
    path = celeba.images / celeba.names[5]
    path.write_bytes((celeba.images / celeba.names[6]).read_bytes())
    return plan_of(celeba)


def touched(celeba: FakeCeleba) -> DecodePlan:
    os.utime(celeba.images / celeba.names[5], (1, 1))
    return plan_of(celeba)


def removed(celeba: FakeCeleba) -> DecodePlan:
    (celeba.images / celeba.names[5]).unlink()
    return plan_of(celeba)


def cut_array(celeba: FakeCeleba) -> DecodePlan:
    plan = plan_of(celeba)
    plan.array.write_bytes(plan.array.read_bytes()[:-1])
    return plan


def other_type(celeba: FakeCeleba) -> DecodePlan:
    plan = plan_of(celeba)
    np.save(plan.array, np.zeros(plan.shape, np.int8))
    return plan


def other_shape(celeba: FakeCeleba) -> DecodePlan:
    plan = plan_of(celeba)
    np.save(plan.array, np.zeros((2, *plan.geometry.shape), np.uint8))
    return plan


def empty_array(celeba: FakeCeleba) -> DecodePlan:
    plan = plan_of(celeba)
    plan.array.write_bytes(b"")
    return plan


def other_pixels(celeba: FakeCeleba) -> DecodePlan:
    plan = plan_of(celeba)
    before = plan.array.stat()
    np.save(plan.array, np.ones(plan.shape, np.uint8))
    os.utime(plan.array, ns=(before.st_atime_ns, before.st_mtime_ns))
    return plan


def same_size_and_time(celeba: FakeCeleba) -> DecodePlan:
    path = celeba.images / celeba.names[5]
    before = path.stat()
    path.write_bytes(path.read_bytes()[:-2] + b"ab")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return plan_of(celeba)


def no_sidecar(celeba: FakeCeleba) -> DecodePlan:
    plan = plan_of(celeba)
    plan.sidecar.unlink()
    return plan


def other_sidecar(celeba: FakeCeleba) -> DecodePlan:
    plan = plan_of(celeba)
    plan.sidecar.write_text("[1, 2]")
    return plan


def cut_sidecar(celeba: FakeCeleba) -> DecodePlan:
    plan = plan_of(celeba)
    plan.sidecar.write_text(plan.sidecar.read_text()[:-9])
    return plan


@pytest.mark.parametrize(
    "change",
    [
        *(replaced, touched, removed, cut_array, other_type, other_shape, empty_array),
        *(no_sidecar, other_sidecar, cut_sidecar, other_pixels, same_size_and_time),
        lambda celeba: plan_of(celeba, names=celeba.names[:-1]),
        lambda celeba: plan_of(celeba, geometry=ImageGeometry(9, None)),
        lambda celeba: plan_of(celeba, geometry=ImageGeometry(8, 178)),
    ],
)
def test_a_stale_cache_is_not_used_and_built_again(celeba: FakeCeleba, change: Any) -> None:
    build(plan_of(celeba), 1)
    plan = change(celeba)
    assert cached(plan) is None
    pixels = build(plan, 1)
    again = cached(plan)
    assert again is not None
    assert again.digest == pixels.digest


def test_a_run_that_is_stopped_leaves_no_cache(
    celeba: FakeCeleba, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(celeba)
    partial = plan.array.parent / f"part.npy{TEMPORARY}1-ab"  # as a kill leaves it
    partial.parent.mkdir()
    partial.write_bytes(b"half")
    monkeypatch.setattr(cache, "_CHUNK_IMAGES", 4)
    calls: list[Path] = []

    def stop(path: Path, geometry: ImageGeometry) -> Any:
        calls.append(path)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return decode(path, geometry)

    monkeypatch.setattr(cache, "decode", stop)
    with pytest.raises(KeyboardInterrupt):
        build(plan, 1)
    assert list(plan.array.parent.iterdir()) == [partial]
    assert cached(plan) is None
