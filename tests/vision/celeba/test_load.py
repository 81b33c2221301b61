from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recsys_mtl.data.splits import SPLITS
from recsys_mtl.errors import UserError
from recsys_mtl.files import TEMPORARY
from recsys_mtl.vision.celeba import CelebaSplit, cache, load_celeba
from recsys_mtl.vision.celeba.decode import decode
from recsys_mtl.vision.images import ImageSplit, LeftOut
from tests.vision.fake_celeba import FakeCeleba, write_celeba

TASKS = ("Smiling", "Male", "Bald")


def load(root: Path, **other: Any) -> dict[Any, CelebaSplit]:
    given = {"attributes": TASKS, "size": 13, "cache": None, "workers": 1, **other}
    return load_celeba(root, **given)


def all_of(split: ImageSplit) -> tuple[torch.Tensor, torch.Tensor]:
    return split.batch(torch.arange(len(split)))


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that are decoded."""
    names: list[str] = []

    def counted(path: Path, *options: Any) -> Any:
        names.append(path.name)
        return decode(path, *options)

    monkeypatch.setattr(cache, "decode", counted)
    return names


def test_the_three_splits(celeba: FakeCeleba, caplog: pytest.LogCaptureFixture) -> None:
    splits = load(celeba.root)
    assert list(splits) == list(SPLITS)
    assert [len(split) for split in splits.values()] == [11, 5, 7]
    for number, split in enumerate(splits.values()):
        images, labels = all_of(split)
        assert images.shape == (len(split), 3, 13, 13)
        assert labels.tolist() == celeba.labels_of(number, *TASKS).tolist()
        assert [task.name for task in split.tasks] == list(TASKS)
        assert split.left_out == LeftOut(len(split), 0, (), len(split))
    assert len({split.fingerprint() for split in splits.values()}) == 3
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    "layout",
    [
        {"csv": True},
        {"images": "img_align_celeba/img_align_celeba"},
        {"images": "Img/img_align_celeba", "lists": ("Anno", "Eval")},
        {"csv": True, "images": "img_align_celeba/img_align_celeba", "lists": ("Anno", "Eval")},
    ],
)
def test_every_layout_gives_the_same(
    celeba: FakeCeleba, tmp_path: Path, layout: dict[str, Any]
) -> None:
    write_celeba(tmp_path / "other", **layout)
    expected, splits = load(celeba.root), load(tmp_path / "other")
    for split in SPLITS:
        assert splits[split].fingerprint() == expected[split].fingerprint()
        assert torch.equal(all_of(splits[split])[0], all_of(expected[split])[0])


def test_the_second_time_nothing_is_decoded(celeba: FakeCeleba, decodes: list[str]) -> None:
    first = load(celeba.root)
    assert decodes == list(celeba.names)
    second = load(celeba.root, attributes=("Young",))
    assert len(decodes) == 23
    for split in SPLITS:
        assert torch.equal(all_of(first[split])[0], all_of(second[split])[0])
        assert first[split].fingerprint() != second[split].fingerprint()
    assert load(celeba.root)["train"].fingerprint() == first["train"].fingerprint()


def test_only_a_stale_split_is_decoded_again(celeba: FakeCeleba, decodes: list[str]) -> None:
    before = load(celeba.root)
    valid = celeba.of(1)
    shutil.copy(celeba.images / celeba.names[0], celeba.images / valid[2])
    decodes.clear()
    after = load(celeba.root)
    assert decodes == valid
    assert after["valid"].fingerprint() != before["valid"].fingerprint()
    assert after["train"].fingerprint() == before["train"].fingerprint()
    assert torch.equal(all_of(after["valid"])[0][2], all_of(after["train"])[0][0])


def test_settings_have_separate_files(celeba: FakeCeleba, decodes: list[str]) -> None:
    settings: list[dict[str, Any]] = [{}, {"size": 8}, {"crop": None}, {"crop": 99}]
    settings.append({"splits": {"train": 4, "test": 2}})
    fingerprints = [load(celeba.root, **other)["train"].fingerprint() for other in settings]
    assert len(decodes) == 4 * 23 + 6
    assert [load(celeba.root, **other)["train"].fingerprint() for other in settings] == fingerprints
    assert len(decodes) == 4 * 23 + 6
    assert len(set(fingerprints)) == 4, "the largest square of these is 178, the usual crop"


def test_a_copy_elsewhere_has_the_same_fingerprint(celeba: FakeCeleba, tmp_path: Path) -> None:
    before = load(celeba.root, cache=tmp_path / "mine")
    assert not (celeba.root / "cache").exists()
    shutil.copytree(celeba.root, tmp_path / "copy", copy_function=shutil.copyfile)
    after = load(tmp_path / "copy", cache=tmp_path / "other")
    assert [s.fingerprint() for s in after.values()] == [s.fingerprint() for s in before.values()]


def test_rows_keep_the_first_images(celeba: FakeCeleba) -> None:
    splits = {"train": 4, "valid": 50, "test": 2}
    complete, some = load(celeba.root), load(celeba.root, splits=splits)
    assert [len(split) for split in some.values()] == [4, 5, 2]
    assert torch.equal(all_of(some["train"])[0], all_of(complete["train"])[0][:4])
    assert torch.equal(all_of(some["test"])[1], all_of(complete["test"])[1][:2])


def spoil(celeba: FakeCeleba) -> list[str]:
    """Breaks four images of train, in the order of their names."""
    missing, cut, text, empty = names = [celeba.names[i] for i in (1, 3, 4, 8)]
    (celeba.images / missing).unlink()
    content = (celeba.images / cut).read_bytes()
    (celeba.images / cut).write_bytes(content[: len(content) // 2])
    (celeba.images / text).write_text("not an image")
    (celeba.images / empty).write_bytes(b"")
    return names


def test_broken_images_are_left_out_and_reported(
    celeba: FakeCeleba, caplog: pytest.LogCaptureFixture, decodes: list[str]
) -> None:
    complete = load(celeba.root)["train"]
    names = spoil(celeba)
    for _ in range(2):  # decoded, then from the cache
        caplog.clear()
        split = load(celeba.root, max_broken=0.5)["train"]
        assert [name for name, _ in split.left_out.broken] == names
        kept = [i for i in range(11) if celeba.names[i] not in names]
        assert len(split) == 7
        for actual, expected in zip(all_of(split), all_of(complete), strict=True):
            assert torch.equal(actual, expected[kept])
        (message,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
        assert message.startswith("train: left out 4 of 11 images")
        assert f"{names[0]} (missing), {names[1]} (" in message
    assert decodes == [*celeba.names, *celeba.of(0)]


def test_too_many_broken_images_are_refused_and_not_decoded_again(
    celeba: FakeCeleba, decodes: list[str]
) -> None:
    spoil(celeba)
    for share in (0.1, 0.36):
        with pytest.raises(UserError, match=r"too many broken images in train.* 4 of 11 images"):
            load(celeba.root, max_broken=share)
    assert len(load(celeba.root, max_broken=0.37)["train"]) == 7
    assert decodes == list(celeba.names)


def test_missing_images_are_reported_before_anything_is_decoded(
    celeba: FakeCeleba, decodes: list[str]
) -> None:
    for name in celeba.of(2):
        (celeba.images / name).unlink()
    for share in (0.01, 1.0):
        with pytest.raises(UserError) as error:
            load(celeba.root, max_broken=share)
        assert "7 of 7 images" in str(error.value)
        assert f"{celeba.of(2)[4]} (missing) and 2 more" in str(error.value)
        assert celeba.of(2)[5] not in str(error.value)
    assert decodes == []


def test_part_of_the_images_needs_no_other_lists(celeba: FakeCeleba, decodes: list[str]) -> None:
    complete = load(celeba.root, cache=celeba.root / "complete")
    decodes.clear()
    absent = [*celeba.names[2:9], *celeba.of(2)]
    for name in absent:
        (celeba.images / name).unlink()
    (celeba.images / celeba.names[10]).write_text("not an image")
    with pytest.raises(UserError, match=r"7 of 11 images .* -> .*dataset.only_present=true"):
        load(celeba.root)
    options: dict[str, Any] = {"only_present": True, "max_broken": 0.3}
    with pytest.raises(UserError, match="no image of the split test"):
        load(celeba.root, **options)
    assert decodes == []
    splits = load(celeba.root, splits={"train": None, "valid": None}, **options)
    assert [len(split) for split in splits.values()] == [3, 5]
    assert splits["valid"].fingerprint() == complete["valid"].fingerprint()
    left_out = splits["train"].left_out
    assert (left_out.listed, left_out.absent, left_out.count) == (11, 7, 4)
    assert [name for name, _ in left_out.broken] == [celeba.names[10]]
    first = load(celeba.root, splits={"train": 3}, **options)["train"]
    assert first.left_out == LeftOut(11, 7, (), 3)
    assert torch.equal(all_of(first)[0], all_of(complete["train"])[0][[0, 1, 9]])


def test_a_finished_download_is_decoded(celeba: FakeCeleba, tmp_path: Path) -> None:
    complete = load(celeba.root, cache=tmp_path / "complete")["train"]
    kept = (celeba.images / celeba.names[3]).rename(tmp_path / "kept.jpg")
    part = load(celeba.root, only_present=True)["train"]
    kept.rename(celeba.images / celeba.names[3])
    again = load(celeba.root, only_present=True)["train"]
    assert (len(part), len(again)) == (10, 11)
    assert again.fingerprint() == complete.fingerprint() != part.fingerprint()


def test_a_cache_that_cannot_be_written(celeba: FakeCeleba) -> None:
    (celeba.root / "cache").write_text("in the way")
    with pytest.raises(UserError, match="name a folder that can be written to as the cache"):
        load(celeba.root)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"attributes": ("Smilling",)}, "did you mean 'Smiling'?"),
        ({"crop": 200}, "178 x 218 pixels, smaller than the crop of 200"),
    ],
)
def test_wrong_settings_are_one_line(
    celeba: FakeCeleba, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as error:
        load(celeba.root, **given)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


KILLED = """
import os, signal, sys
from pathlib import Path
from recsys_mtl.vision.celeba import cache, load_celeba
from recsys_mtl.vision.celeba.decode import decode

def decode_or_die(path, geometry):
    if path.name == "000009.jpg":
        os.kill(os.getpid(), signal.SIGKILL)
    return decode(path, geometry)

cache._CHUNK_IMAGES, cache.decode = 3, decode_or_die
load_celeba(Path(sys.argv[1]), attributes=("Male",), size=13, cache=None, workers=1)
"""


@pytest.mark.slow
def test_after_a_kill_in_the_middle(celeba: FakeCeleba, tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, str(celeba.root)], check=False)
    assert ended.returncode == -signal.SIGKILL
    (partial,) = (celeba.root / "cache").iterdir()
    assert TEMPORARY in partial.name
    splits, expected = load(celeba.root), load(celeba.root, cache=tmp_path / "other")
    assert not partial.exists()
    for split in SPLITS:
        assert splits[split].fingerprint() == expected[split].fingerprint()


def test_two_threads_decode_the_same(
    celeba: FakeCeleba, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(celeba)
    expected = load(celeba.root, max_broken=0.5)
    monkeypatch.setattr(cache, "_CHUNK_IMAGES", 3)
    plain = load(celeba.root, max_broken=0.5, cache=tmp_path / "plain")
    splits = load(celeba.root, max_broken=0.5, cache=tmp_path / "two", workers=2)
    for split in SPLITS:
        assert splits[split].left_out == expected[split].left_out
        assert splits[split].fingerprint() == plain[split].fingerprint()
        for one, other in zip(all_of(splits[split]), all_of(expected[split]), strict=True):
            assert np.array_equal(one.numpy(), other.numpy())
