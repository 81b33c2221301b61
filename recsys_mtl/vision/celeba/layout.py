"""Finds the files of CelebA: directly in the folder, or in those of the official download."""

from __future__ import annotations

import os
from pathlib import Path

from recsys_mtl.errors import wrong

_LISTS = ("", "Anno", "Eval")
_IMAGES = ("", "Img")
_NAME = "img_align_celeba"


def find_list(root: Path, name: str) -> Path:
    """`name`.txt, otherwise `name`.csv, in the folder, `Anno/` or `Eval/`.

    Raises:
        UserError: no such list.
    """
    for suffix in (".txt", ".csv"):
        for folder in _LISTS:
            path = root / folder / (name + suffix)
            if path.is_file():
                return path
    raise wrong(
        f"no {name}.txt and no {name}.csv" if root.is_dir() else "no such folder",
        where=str(root),
        expected="the files of CelebA there, its lists also in Anno/ and Eval/",
    )


def find_images(root: Path) -> Path:
    """The folder of the aligned images; archives often nest it in a folder of the same name.

    Raises:
        UserError: no such folder has a .jpg file.
    """
    for folder in _IMAGES:
        for path in (root / folder / _NAME / _NAME, root / folder / _NAME):
            if _has_images(path):
                return path
    archives = [root / folder / f"{_NAME}.zip" for folder in _IMAGES]
    packed = next((path for path in archives if path.is_file()), None)
    raise wrong(
        "no images",
        where=str(root),
        expected=f"files like 000001.jpg in {_NAME}/ or Img/{_NAME}/",
        fix=f"unpack '{packed}'" if packed else "",
    )


def _has_images(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        return any(entry.name.lower().endswith(".jpg") for entry in entries)
