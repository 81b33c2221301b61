"""The decoded images of a split in a memory-mapped file, and whether it is still valid.

Next to `NAME.npy` is `NAME.json`: the SHA-256 of all pixels, the broken images, and the size and
times of every source file and of the array. Pixels are hashed once, while they are decoded; later
runs compare sizes and times (some seconds for 200,000 images) and read no pixel. Labels are in
neither file, so other attributes use the same pixels.

Shapes: N images of the list, S × S pixels.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from recsys_mtl.data.splits import SplitName
from recsys_mtl.files import atomic_file, atomic_write
from recsys_mtl.progress import progress
from recsys_mtl.vision.celeba.decode import PILLOW_RAISES, ImageGeometry, decode, reason_of
from recsys_mtl.vision.images import Broken

_VERSION = 2  # of the decoding and the stamps
_CHUNK_IMAGES = 256
_CHUNK_BYTES = 32 << 20
_NO_FILE = (-1, 0, 0)


@dataclass(frozen=True)
class Pixels:
    """The decoded images of a split.

    Attributes:
        array: (N, 3, S, S) mapped uint8; zeros where an image is broken.
        broken: the images that cannot be used.
        digest: hex SHA-256 of all pixels.
    """

    array: NDArray[np.uint8]
    broken: tuple[Broken, ...]
    digest: str


@dataclass(frozen=True)
class DecodePlan:
    """The decoding of a split's pixels.

    Attributes:
        split: the split.
        folder: of the images.
        names: of the N files.
        geometry: size and crop.
        array: file of the pixels.
    """

    split: SplitName
    folder: Path
    names: tuple[str, ...]
    geometry: ImageGeometry
    array: Path

    @property
    def sidecar(self) -> Path:
        """File that describes the pixels."""
        return self.array.with_suffix(".json")

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, 3, S, S)."""
        return (len(self.names), *self.geometry.shape)

    @cached_property
    def stamps(self) -> tuple[tuple[int, int, int], ...]:
        """Size and times of each image."""
        return tuple(_stamp(self.folder / name) for name in self.names)

    @property
    def missing(self) -> tuple[Broken, ...]:
        """The images without a file."""
        pairs = zip(self.names, self.stamps, strict=True)
        return tuple((name, "missing") for name, stamp in pairs if stamp == _NO_FILE)

    @cached_property
    def source(self) -> str:
        """Hex SHA-256 of the names, sizes and times of the images, size and crop."""
        digest = hashlib.sha256(f"{_VERSION} {self.geometry}\n".encode())
        for name, stamp in zip(self.names, self.stamps, strict=True):
            digest.update(f"{name}\0{stamp}\n".encode())
        return digest.hexdigest()


def cached(plan: DecodePlan) -> Pixels | None:
    """The pixels of an earlier run; None if there are none or images, array or settings differ."""
    try:
        kept = json.loads(plan.sidecar.read_text(encoding="utf-8"))
        if kept["source"] != plan.source or tuple(kept["array"]) != _stamp(plan.array):
            return None
        broken = tuple((str(name), str(reason)) for name, reason in kept["broken"])
        array = np.load(plan.array, mmap_mode="r", allow_pickle=False)
        return Pixels(array, broken, str(kept["pixels"]))
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None


def build(plan: DecodePlan, workers: int | None) -> Pixels:
    """Decodes the images into the plan's files, in threads: Pillow decodes without the GIL.

    Args:
        plan: which images, and where to.
        workers: threads; None: one a core.
    """
    # Chunks do not depend on the threads: the digest is that of the chunks' digests.
    step = max(1, min(_CHUNK_IMAGES, _CHUNK_BYTES // math.prod(plan.geometry.shape)))
    broken: list[Broken] = []
    digest = hashlib.sha256()
    with atomic_file(plan.array) as temporary:
        empty = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=plan.shape)
        work = partial(_decode_chunk, plan, temporary, empty.offset, step)
        with (
            _decoding_threads(workers) as pool,
            progress(f"decoding {plan.split}", len(plan.names), "images") as advance,
        ):
            for chunk in pool.map(work, range(0, len(plan.names), step)):
                broken += chunk.broken
                digest.update(chunk.digest)
                advance(chunk.images)
    content = {
        "size": plan.geometry.size,
        "crop": plan.geometry.crop,
        "images": len(plan.names),
        "source": plan.source,
        "array": _stamp(plan.array),
        "pixels": digest.hexdigest(),
        "broken": broken,
    }
    atomic_write(plan.sidecar, json.dumps(content, indent=1))
    array = np.load(plan.array, mmap_mode="r", allow_pickle=False)
    return Pixels(array, tuple(broken), digest.hexdigest())


class _Chunk(NamedTuple):
    """Number of images of a chunk, the broken ones, and the SHA-256 of the pixels."""

    images: int
    broken: list[Broken]
    digest: bytes


def _decode_chunk(plan: DecodePlan, path: Path, offset: int, step: int, start: int) -> _Chunk:
    """Writes a chunk's pixels into the array's file, by a call that reports a full disk."""
    names = plan.names[start : start + step]
    pixels = np.zeros((len(names), *plan.geometry.shape), dtype=np.uint8)
    broken: list[Broken] = []
    for index, name in enumerate(names):
        try:
            pixels[index] = decode(plan.folder / name, plan.geometry)
        except PILLOW_RAISES as error:
            broken.append((name, reason_of(error)))
    with path.open("r+b") as stream:
        stream.seek(offset + start * math.prod(plan.geometry.shape))
        stream.write(pixels.data)
    return _Chunk(len(names), broken, hashlib.sha256(pixels.data).digest())


@contextmanager
def _decoding_threads(workers: int | None) -> Iterator[ThreadPoolExecutor]:
    """Threads for which an image of too many pixels is an error, and nothing else a warning."""
    with warnings.catch_warnings(), ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _stamp(path: Path) -> tuple[int, int, int]:
    """Size, and times of the last change of content and of status, in nanoseconds.

    No command that writes to a file, or puts another one in its place, keeps all three.
    """
    try:
        status = path.stat()
    except OSError:
        return _NO_FILE
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
