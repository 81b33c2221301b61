"""Loads the compiled kernels for this processor, without torch."""

from __future__ import annotations

import ctypes
import logging
import os
import zlib
from dataclasses import dataclass
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

SWITCH = "RECSYS_MTL_NATIVE"
"""Environment variable; `0` turns the kernels off."""

VARIANTS = ("base", "avx2", "avx512")
"""Instruction sets in the order of `recsys_level`."""

_HERE = Path(__file__).parent
_SOURCE = _HERE / "hidden.c"
_SAME_AS_BEFORE = 0xADF88BBF
"""Hash of the first sources that have one; those without compute the same."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kernels:
    """The kernels that this process uses.

    Attributes:
        variant: instruction set.
        hidden: `recsys_hidden`.
        parallel: address of `GOMP_parallel` in the OpenMP that is loaded; None: one thread.
    """

    variant: str
    hidden: Any
    parallel: int | None


@cache
def kernels() -> Kernels | None:
    """The best kernels for this processor; None: not built, or turned off.

    Call it after torch is imported: threads are those of torch's OpenMP.
    """
    library = best()
    if library is None or os.environ.get(SWITCH) == "0":
        return None
    hidden = library[1].recsys_hidden
    hidden.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p]
    return Kernels(library[0], hidden, _parallel())


def best() -> tuple[str, ctypes.CDLL] | None:
    """The best instruction set that this processor has and its library.

    None: none is built from these sources.
    """
    base = _file("base")
    if base is None:
        return None
    try:
        level = ctypes.CDLL(str(base)).recsys_level()
        built = [(name, file) for name in VARIANTS[: level + 1] if (file := _file(name))]
        name, library = built[-1][0], ctypes.CDLL(str(built[-1][1]))
        if not _SOURCE.exists() or _built_from(library) == source_hash(_SOURCE):
            return name, library
    except (OSError, AttributeError):  # built for another machine
        return None
    _warn_of_other_sources()
    return None


def _built_from(library: ctypes.CDLL) -> int:
    """Hash of the sources of a library."""
    if not hasattr(library, "recsys_source"):
        return _SAME_AS_BEFORE
    library.recsys_source.restype = ctypes.c_uint32
    return int(library.recsys_source())


def source_hash(source: Path) -> int:
    """Of the file that a library is built from; `setup.py` has the same."""
    return zlib.crc32(source.read_bytes())


@cache
def _warn_of_other_sources() -> None:
    """Warn, once."""
    _log.warning(
        "the native kernel was built from other sources and is not used, training is slower: "
        "install again (pip install --no-deps --no-build-isolation -e .)"
    )


def described() -> str:
    """What this process uses, in words."""
    library = best()
    if library is None:
        return "none: install again where a C compiler is"
    if os.environ.get(SWITCH) == "0":
        return f"off by {SWITCH}=0"
    return library[0]


def _file(variant: str) -> Path | None:
    names = (_HERE / f"_{variant}{suffix}" for suffix in EXTENSION_SUFFIXES)
    return next((path for path in names if path.exists()), None)


def _parallel() -> int | None:
    """From the process itself: a second OpenMP would have threads of its own."""
    try:
        function = ctypes.CDLL(None).GOMP_parallel
    except (AttributeError, OSError, TypeError):
        return None
    return ctypes.cast(function, ctypes.c_void_p).value
