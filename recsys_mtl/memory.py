"""Memory: how much a job took, and arrays that may be larger than it."""

from __future__ import annotations

import math
import mmap
import os
import resource
import sys
import tempfile
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

REPLICATED_BYTES = 2**30
"""Weights of all tables up to which every one of several processes has them, by default."""
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_CONTAINER = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")

LARGEST_IN_MEMORY = 2**30
"""Bytes of an array; `spacious` has a larger one in a file."""


def spacious(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array of any content; a large one is mapped from a temporary file, whose pages can leave.

    Where its folder (TMPDIR) has no room, or the system cannot reserve it, it is in memory.
    """
    size = math.prod(shape) * dtype.itemsize
    if size > LARGEST_IN_MEMORY and hasattr(os, "posix_fallocate"):
        with suppress(OSError), tempfile.TemporaryFile() as file:
            os.posix_fallocate(file.fileno(), 0, size)  # a disk that is full later would kill us
            return np.asarray(np.memmap(file, dtype, "r+", shape=shape))
    return np.empty(shape, dtype)


def leave(array: NDArray[Any]) -> None:
    """Let the pages of a `spacious` array leave; those that are used again come back from its file.

    Nothing happens where the array is in memory.
    """
    mapped = getattr(array.base, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def peak_memory_mb() -> float:
    """Largest resident set of this process so far, or since `reset_peak_memory`, in MiB."""
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes on macOS, else KiB


def reset_peak_memory() -> None:
    """Count from here on, where the system allows it (Linux); elsewhere nothing happens."""
    with suppress(OSError):
        _RESET.write_text("5")


def total_memory() -> int | None:
    """Bytes of memory that this process may use: the machine's or its container's, if known."""
    limits = []
    with suppress(OSError, ValueError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in _CONTAINER:
        with suppress(OSError, ValueError):  # "max": no limit
            limits.append(int(path.read_text()))
    return min(limits, default=None)


def in_bytes(count: int) -> str:
    """`1536` as `1.5 KiB`."""
    power = min(max(count.bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    scaled = Decimal(count) / 1024**power  # of any size, unlike a float
    return f"{scaled:.1f} {_UNITS[power]}" if scaled < 10_000 else f"{scaled:.1e} {_UNITS[power]}"
