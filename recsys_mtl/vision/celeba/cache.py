"""The decoded images of a split in a memory-mapped file, and whether it is still valid.

Next to `NAME.npy` is `NAME.json`: its source and the broken images. Labels are in neither, so
other attributes use the same pixels.

Shapes: N images of the list, S × S pixels.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys_mtl.data.splits import SplitName
from recsys_mtl.files import atomic_file, atomic_write
from recsys_mtl.processes import worker_pool
from recsys_mtl.vision.celeba.decode import Broken, Chunk, Decoded, ImageGeometry, decode_chunk

log = logging.getLogger(__name__)

_VERSION = 1  # of the decoding
_CHUNK_IMAGES = 256
_CHUNK_BYTES = 32 << 20

MapFunction = Callable[[Callable[[Chunk], Decoded], Iterable[Chunk]], Iterator[Decoded]]


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
        cache: folder of the arrays.
        name: of the array's file, without a suffix.
    """

    split: SplitName
    folder: Path
    names: tuple[str, ...]
    geometry: ImageGeometry
    cache: Path
    name: str

    @property
    def array(self) -> Path:
        """File of the pixels."""
        return self.cache / f"{self.name}.npy"

    @property
    def sidecar(self) -> Path:
        """File that describes the pixels."""
        return self.cache / f"{self.name}.json"

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, 3, S, S)."""
        return (len(self.names), *self.geometry.shape)

    @property
    def bytes(self) -> int:
        """Size of the array."""
        return math.prod(self.shape)

    @cached_property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Bytes and time of change, in nanoseconds, of each image; −1 where it is missing."""
        return tuple(map(_size, (self.folder / name for name in self.names)))

    @property
    def missing(self) -> tuple[Broken, ...]:
        """The missing images."""
        pairs = zip(self.names, self.sizes, strict=True)
        return tuple((name, "missing") for name, (size, _) in pairs if size < 0)

    @cached_property
    def source(self) -> str:
        """Hex SHA-256 of the names, sizes and times of the images, size and crop."""
        size, crop = self.geometry.size, self.geometry.crop
        digest = hashlib.sha256(f"{_VERSION} Look(size={size}, crop={crop})\n".encode())
        for name, (length, time) in zip(self.names, self.sizes, strict=True):
            digest.update(f"{name}\0{length}\0{time}\n".encode())
        return digest.hexdigest()


def cached(plan: DecodePlan) -> Pixels | None:
    """The pixels of an earlier run; None if there are none or the images or settings differ."""
    try:
        kept = json.loads(plan.sidecar.read_text(encoding="utf-8"))
        if kept["source"] != plan.source:
            return None
        broken = tuple((str(name), str(reason)) for name, reason in kept["broken"])
        digest = str(kept["pixels"])
        array = np.load(plan.array, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None
    if array.shape != plan.shape or array.dtype != np.uint8:
        return None
    return Pixels(array, broken, digest)


def build(plans: Iterable[DecodePlan], workers: int) -> Iterator[Pixels]:
    """Decodes each plan's images into its files; in this process where one worker is enough."""
    plans = list(plans)
    chunks = sum(math.ceil(len(plan.names) / _step(plan)) for plan in plans)
    with _runner(min(workers, chunks)) as run:
        for plan in plans:
            yield _build(plan, run)


@contextmanager
def _runner(workers: int) -> Iterator[MapFunction]:
    if workers == 1:
        yield map
        return
    with worker_pool(workers) as pool:
        yield pool.map


def _build(plan: DecodePlan, run: MapFunction) -> Pixels:
    log.info("%s: decoding %d images into %s", plan.split, len(plan.names), plan.array)
    broken: list[Broken] = []
    digest = hashlib.sha256()
    done = 0
    with atomic_file(plan.array) as temporary:
        for decoded in run(decode_chunk, _chunks(plan, temporary)):
            broken += decoded.broken
            digest.update(decoded.digest)
            before, done = done, done + decoded.count
            if 10 * done // len(plan.names) > 10 * before // len(plan.names):
                log.info("%s: decoded %d %%", plan.split, 100 * done // len(plan.names))
    content = {
        "size": plan.geometry.size,
        "crop": plan.geometry.crop,
        "images": len(plan.names),
        "source": plan.source,
        "pixels": digest.hexdigest(),
        "broken": broken,
    }
    atomic_write(plan.sidecar, json.dumps(content, indent=1))
    array = np.load(plan.array, mmap_mode="r", allow_pickle=False)
    return Pixels(array, tuple(broken), digest.hexdigest())


def _chunks(plan: DecodePlan, path: Path) -> list[Chunk]:
    """The chunks, to fill an empty array of the plan's shape; they do not depend on workers."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=plan.shape)
    first, each, step = array.offset, math.prod(plan.geometry.shape), _step(plan)
    return [
        Chunk(
            plan.folder, plan.names[start : start + step], plan.geometry, path, first + start * each
        )
        for start in range(0, len(plan.names), step)
    ]


def _step(plan: DecodePlan) -> int:
    """Images of a chunk."""
    return max(1, min(_CHUNK_IMAGES, _CHUNK_BYTES // math.prod(plan.geometry.shape)))


def _size(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return -1, 0
    return status.st_size, status.st_mtime_ns
