"""MNIST from its four files, and their format IDX: 0, 0, type, D, then D sizes, then the values.

Shapes: D dimensions, whose sizes are big-endian 32-bit numbers; N images of S × S pixels.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from recsys_mtl.errors import UserError, wrong

Bytes = npt.NDArray[np.uint8]
Pair = tuple[Bytes, Bytes]
"""(N, S, S) gray values and (N,) digits."""
SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)
FILES: dict[SplitName, tuple[str, str]] = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
"""Images and labels of each split; `.gz` may follow."""
FILE_NAMES = tuple(name for pair in FILES.values() for name in pair)
FOLDERS = ("", "mnist", "MNIST/raw")

_GZIP = b"\x1f\x8b"
_UINT8 = 0x08


def read_idx(path: Path, dimensions: int) -> Bytes:
    """The array of an IDX file of unsigned bytes; its content determines whether it is gzipped.

    Raises:
        UserError: the file cannot be read, is of another format, type or number of dimensions, or
            its length does not match its sizes.
    """
    content = _content(path)
    head, start = bytes((0, 0, _UINT8, dimensions)), 4 + 4 * dimensions
    if content[:4] != head or len(content) < start:
        kind = f"{head!r}: unsigned bytes of {dimensions} dimensions, and their sizes"
        raise _not_idx(path, kind, content[:4] if content[:4] != head else "a part of the sizes")
    shape = tuple(np.frombuffer(content, ">u4", dimensions, offset=4).tolist())
    length = start + math.prod(shape)
    if len(content) != length or 0 in shape:
        expected = f"at least one value, and {length} bytes for the shape {shape}"
        raise _not_idx(path, expected, f"{len(content)} bytes")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


def read_mnist(root: Path | None) -> tuple[Pair, Pair] | None:
    """Images and digits of MNIST's train and test split; None without any of its files.

    The files may be in `root`, `root/mnist` or `root/MNIST/raw`.

    Raises:
        UserError: some of the four files are missing, one is broken, or images and labels do not
            belong together.
    """
    folders = [_present(root / folder) for folder in FOLDERS] if root is not None else []
    files = max(folders, key=len, default={})  # the first of the fullest folders
    if not files:
        return None
    missing = [name for name in FILE_NAMES if name not in files]
    if missing:
        folder = next(iter(files.values())).parent
        raise wrong(
            f"missing {', '.join(missing)}",
            where=str(folder),
            expected="all four files of MNIST, each as it is or with .gz",
        )
    train, test = (_pair(files[images], files[labels]) for images, labels in FILES.values())
    return train, test


def _present(folder: Path) -> dict[str, Path]:
    """The path of each file that the folder has, gzipped or not."""
    paths = {name: folder / f"{name}.gz" for name in FILE_NAMES}
    paths |= {name: folder / name for name in FILE_NAMES if (folder / name).is_file()}
    return {name: path for name, path in paths.items() if path.is_file()}


def _pair(image_file: Path, label_file: Path) -> Pair:
    """Square images and their digits."""
    images, digits = read_idx(image_file, 3), read_idx(label_file, 1)
    if images.shape[1] != images.shape[2]:
        raise wrong("no square images", where=str(image_file), found=images.shape)
    if len(digits) != len(images):
        raise wrong(
            "images and labels do not belong together", where=str(label_file),
            expected=f"{len(images)} labels, as many as images in '{image_file.name}'",
            found=len(digits),
        )  # fmt: skip
    if (digits > 9).any():
        raise wrong("no digit", where=str(label_file), expected="0 to 9", found=digits.max())
    return images, digits


def _content(path: Path) -> bytes:
    """The bytes of a file, unpacked where they are gzipped."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise wrong("cannot read the file", where=str(path), found=reason) from error
    if not raw.startswith(_GZIP):
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _not_idx(path, "a complete gzip file", error) from error


def _not_idx(path: Path, expected: str, content: object) -> UserError:
    return wrong(
        "broken file, or not an IDX file of bytes",
        where=str(path),
        expected=expected,
        found=content,
        fix="download it again",
    )
