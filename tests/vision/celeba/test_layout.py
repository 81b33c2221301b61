from __future__ import annotations

from pathlib import Path

import pytest

from recsys_mtl.errors import UserError
from recsys_mtl.vision.celeba.layout import find_images, find_list


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize("path", ["a.txt", "a.csv", "Anno/a.txt", "Eval/a.txt", "Anno/a.csv"])
def test_a_list_is_in_the_folder_or_in_one_of_the_download(tmp_path: Path, path: str) -> None:
    touch(tmp_path, path)
    assert find_list(tmp_path, "a") == tmp_path / path


def test_the_official_list_comes_before_a_variant(tmp_path: Path) -> None:
    touch(tmp_path, "a.csv", "Anno/a.txt")
    assert find_list(tmp_path, "a") == tmp_path / "Anno/a.txt"


def test_no_list(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no a\.txt and no a\.csv"):
        find_list(tmp_path, "a")
    with pytest.raises(UserError, match="nowhere: no such folder"):
        find_list(tmp_path / "nowhere", "a")


@pytest.mark.parametrize(
    "folder",
    [
        "img_align_celeba",
        "img_align_celeba/img_align_celeba",
        "Img/img_align_celeba",
        "Img/img_align_celeba/img_align_celeba",
    ],
)
def test_images_may_be_nested(tmp_path: Path, folder: str) -> None:
    touch(tmp_path, f"{folder}/000001.jpg")
    assert find_images(tmp_path) == tmp_path / folder


def test_an_empty_folder_within_does_not_hide_the_images(tmp_path: Path) -> None:
    touch(tmp_path, "img_align_celeba/000001.jpg", "img_align_celeba/img_align_celeba/notes.txt")
    assert find_images(tmp_path) == tmp_path / "img_align_celeba"


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no images; expected files like 000001\.jpg"):
        find_images(tmp_path)
    touch(tmp_path, "Img/img_align_celeba.zip")
    with pytest.raises(UserError, match=r"unpack '.*Img/img_align_celeba\.zip'"):
        find_images(tmp_path)
