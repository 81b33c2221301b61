"""From image files to pixels, a chunk at a time: the work of one process.

Shapes: M images of a chunk, S × S pixels.
"""

from __future__ import annotations

import hashlib
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

Broken = tuple[str, str]
"""Name of an image that cannot be used, and why."""
_FORMATS = ("JPEG", "PNG")  # nothing that starts other programs
_PILLOW_RAISES = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, OverflowError, TypeError),
    *(struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning),
)


@dataclass(frozen=True)
class ImageGeometry:
    """The size and crop of decoded images.

    Attributes:
        size: S.
        crop: edge of the centre square that is kept, in pixels; None for the largest one.
    """

    size: int
    crop: int | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(3, S, S)."""
        return (3, self.size, self.size)


@dataclass(frozen=True)
class Chunk:
    """Images to decode and where to write them.

    Attributes:
        folder: of the images.
        names: of the M files.
        geometry: size and crop.
        array: file to write to.
        offset: byte of the file where the first image begins.
    """

    folder: Path
    names: tuple[str, ...]
    geometry: ImageGeometry
    array: Path
    offset: int


@dataclass(frozen=True)
class Decoded:
    """The result of a chunk.

    Attributes:
        count: M.
        broken: images that cannot be used; their pixels are zeros.
        digest: SHA-256 of the pixels.
    """

    count: int
    broken: tuple[Broken, ...]
    digest: bytes


def decode_chunk(chunk: Chunk) -> Decoded:
    """Writes (M, 3, S, S) uint8 into the array's file, by a call that reports a full disk."""
    pixels = np.zeros((len(chunk.names), *chunk.geometry.shape), dtype=np.uint8)
    broken: list[Broken] = []
    for index, name in enumerate(chunk.names):
        try:
            pixels[index] = decode(chunk.folder / name, chunk.geometry)
        except _PILLOW_RAISES as error:
            broken.append((name, _reason(error)))
    with chunk.array.open("r+b") as stream:
        stream.seek(chunk.offset)
        stream.write(pixels.data)
    return Decoded(len(pixels), tuple(broken), hashlib.sha256(pixels.data).digest())


def decode(path: Path, geometry: ImageGeometry) -> NDArray[np.uint8]:
    """(3, S, S) RGB of the centre square, resized bilinearly with Pillow's antialiasing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path, formats=_FORMATS) as image:
            width, height = image.size
            edge = geometry.crop or min(width, height)
            if edge > min(width, height):
                raise ValueError(f"{width} x {height} pixels, smaller than the crop of {edge}")
            left, top = (width - edge) // 2, (height - edge) // 2
            square = image.convert("RGB").crop((left, top, left + edge, top + edge))
    resized = square.resize((geometry.size, geometry.size), Image.Resampling.BILINEAR)
    return np.asarray(resized).transpose(2, 0, 1)


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "missing"
    if isinstance(error, UnidentifiedImageError):
        return "not a JPEG or PNG image"
    reason = error.strerror if isinstance(error, OSError) else None
    return reason or str(error) or type(error).__name__
