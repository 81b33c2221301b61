from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from recsys_mtl.errors import UserError
from recsys_mtl.vision.idx import FILE_NAMES, read_idx, read_mnist

VALUES = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5) * 8


def idx(values: np.ndarray, kind: int = 0x08) -> bytes:
    head = bytes([0, 0, kind, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.tobytes()


def write_mnist(folder: Path, rng: np.random.Generator, size: int = 6) -> dict[str, np.ndarray]:
    """Four small files, two of them gzipped; what is in them."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        FILE_NAMES[0]: rng.integers(0, 256, (13, size, size), dtype=np.uint8),
        FILE_NAMES[1]: rng.integers(0, 10, 13, dtype=np.uint8),
        FILE_NAMES[2]: rng.integers(0, 256, (7, size, size), dtype=np.uint8),
        FILE_NAMES[3]: rng.integers(0, 10, 7, dtype=np.uint8),
    }
    for index, (name, values) in enumerate(content.items()):
        zipped = index % 2 == 0
        data = gzip.compress(idx(values), mtime=0) if zipped else idx(values)
        (folder / f"{name}{'.gz' * zipped}").write_bytes(data)
    return content


# --- one file


@pytest.mark.parametrize("name", ["a", "a.gz"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_content_determines_whether_it_is_gzipped(
    tmp_path: Path, name: str, pack: object
) -> None:
    path = tmp_path / name
    path.write_bytes(pack(idx(VALUES)))
    read = read_idx(path, 3)
    assert read.dtype == np.uint8
    assert (read == VALUES).all()
    assert read.flags.writeable


def test_sizes_are_big_endian(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_bytes(b"\0\0\x08\x01" + b"\0\0\x01\x02" + bytes(258))
    assert read_idx(path, 1).shape == (258,)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_every_truncated_file_is_reported(tmp_path: Path, pack: object) -> None:
    path, content = tmp_path / "cut", pack(idx(VALUES))
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(UserError, match="cut: broken file, or not an IDX file"):
            read_idx(path, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PNG\0" + bytes(40), r"unsigned bytes of 3 dimensions.* found b'PNG\\x00'"),
        (idx(VALUES, kind=0x0D), r"unsigned bytes of 3 dimensions.* found b'.*\\r.x03'"),
        (idx(VALUES[0]), r"unsigned bytes of 3 dimensions.* found b'.*x02'"),
        (idx(np.zeros((0, 3, 3), np.uint8)), r"at least one value.*shape \(0, 3, 3\)"),
        (idx(VALUES) + b"\0", r"46 bytes for the shape \(2, 3, 5\); found 47 bytes"),
        (gzip.compress(idx(VALUES), mtime=0) + b"more", "expected a complete gzip file"),
        (gzip.compress(bytes(500), mtime=0)[:10] + b"\xff" * 30, "expected a complete gzip file"),
    ],
)
def test_other_files_are_reported(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "other-file"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"other-file: broken file.*{message}"):
        read_idx(path, 3)


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent: cannot read the file; found No such file"):
        read_idx(tmp_path / "absent", 3)
    with pytest.raises(UserError, match="cannot read the file; found Is a directory"):
        read_idx(tmp_path, 3)


# --- the four files of MNIST


@pytest.mark.parametrize("folder", ["", "mnist", "MNIST/raw"])
def test_the_four_files_are_found(tmp_path: Path, rng: np.random.Generator, folder: str) -> None:
    content = write_mnist(tmp_path / folder, rng)
    pairs = read_mnist(tmp_path)
    assert pairs is not None
    read = [values for pair in pairs for values in pair]
    for pixels, values in zip(read, content.values(), strict=True):
        assert pixels.shape == values.shape
        assert (pixels == values).all()


def test_a_complete_folder_takes_precedence(tmp_path: Path, rng: np.random.Generator) -> None:
    content = write_mnist(tmp_path / "mnist", rng)
    (tmp_path / FILE_NAMES[0]).write_bytes(idx(VALUES))
    pairs = read_mnist(tmp_path)
    assert pairs is not None
    assert (pairs[0][0] == content[FILE_NAMES[0]]).all()


def test_no_files_are_none(tmp_path: Path) -> None:
    assert read_mnist(None) is None
    assert read_mnist(tmp_path) is None
    assert read_mnist(tmp_path / "absent") is None


def test_missing_files_are_named(tmp_path: Path, rng: np.random.Generator) -> None:
    write_mnist(tmp_path / "mnist", rng)
    (tmp_path / "mnist" / FILE_NAMES[1]).unlink()
    (tmp_path / "mnist" / f"{FILE_NAMES[2]}.gz").unlink()
    with pytest.raises(UserError) as caught:
        read_mnist(tmp_path)
    assert f"mnist: missing {FILE_NAMES[1]}, {FILE_NAMES[2]};" in str(caught.value)
    assert FILE_NAMES[0] not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(6, np.uint8), r"expected 7 labels, .*; found 6"),
        (np.zeros((7, 1), np.uint8), r"expected .* unsigned bytes of 1 dimensions"),
        (np.full(7, 10, np.uint8), "no digit; expected 0 to 9; found 10"),
    ],
)
def test_labels_that_do_not_fit_are_reported(
    tmp_path: Path, rng: np.random.Generator, values: np.ndarray, message: str
) -> None:
    write_mnist(tmp_path, rng)
    (tmp_path / FILE_NAMES[3]).write_bytes(idx(values))
    with pytest.raises(UserError, match=f"{FILE_NAMES[3]}: .*{message}"):
        read_mnist(tmp_path)


def test_images_that_are_not_square_are_reported(tmp_path: Path, rng: np.random.Generator) -> None:
    write_mnist(tmp_path, rng)
    (tmp_path / FILE_NAMES[2]).write_bytes(idx(np.zeros((7, 5, 6), np.uint8)))
    with pytest.raises(UserError, match=r"no square images; found \(7, 5, 6\)"):
        read_mnist(tmp_path)
