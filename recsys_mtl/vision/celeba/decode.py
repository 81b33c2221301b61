"""From an image file to pixels.

Shapes: S × S pixels.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

_FORMATS = ("JPEG", "PNG")  # nothing that starts other programs
PILLOW_RAISES = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, OverflowError, TypeError),
    *(struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning),
)
"""The errors of a broken image."""


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


def decode(path: Path, geometry: ImageGeometry) -> NDArray[np.uint8]:
    """(3, S, S) RGB of the centre square, resized bilinearly with Pillow's antialiasing."""
    with Image.open(path, formats=_FORMATS) as image:
        width, height = image.size
        edge = geometry.crop or min(width, height)
        if edge > min(width, height):
            raise ValueError(f"{width} x {height} pixels, smaller than the crop of {edge}")
        left, top = (width - edge) // 2, (height - edge) // 2
        square = image.convert("RGB").crop((left, top, left + edge, top + edge))
    resized = square.resize((geometry.size, geometry.size), Image.Resampling.BILINEAR)
    return np.asarray(resized).transpose(2, 0, 1)


def reason_of(error: Exception) -> str:
    """Why an image is broken, in a few words."""
    if isinstance(error, FileNotFoundError):
        return "missing"
    if isinstance(error, UnidentifiedImageError):
        return "not a JPEG or PNG image"
    reason = error.strerror if isinstance(error, OSError) else None
    return reason or str(error) or type(error).__name__
