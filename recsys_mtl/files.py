"""Atomic writes: a temporary file next to the target, renamed when it is complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TEMPORARY = ".tmp-"  # in the names of files that are being written


def atomic_write(path: Path, content: str | bytes) -> Path:
    """Write a temporary file and rename it: readers get the old content or the new one."""
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)
    return path


@contextmanager
def folder_made(folder: Path) -> Iterator[Path]:
    """`folder` is there inside; what was made for it and is empty at the end is removed again."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    finally:
        for path in missing:
            with suppress(OSError):
                path.rmdir()


def free_space(folder: Path) -> int:
    """Bytes that are free where the folder is, or will be made."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


@contextmanager
def atomic_file(path: Path, *, prefix: str = "") -> Iterator[Path]:
    """A temporary name to write to; it becomes `path` when the block ends without error.

    Args:
        path: the file.
        prefix: of the temporary name; readers of data sets skip files that start with `_`.
    """
    with _temporary(path, prefix) as temporary:
        yield temporary
        os.replace(temporary, path)


@contextmanager
def _temporary(path: Path, prefix: str) -> Iterator[Path]:
    """An unused name next to `path`; what exists under it afterwards is deleted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{prefix}{path.name}{TEMPORARY}{os.getpid()}-{os.urandom(4).hex()}")
    try:
        yield temporary
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with suppress(FileNotFoundError):
                temporary.unlink()
