"""Files that are whole or not there: written beside their place, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BESIDE = ".tmp-"  # in the names of files that are being written


def atomic_write(path: Path, content: str | bytes) -> Path:
    """Write a file beside `path`, then rename it: readers see the old one or the new one."""
    data = content.encode() if isinstance(content, str) else content
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)
    return path


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; it becomes `path` when the block ends well."""
    with _beside(path) as temporary:
        yield temporary
        os.replace(temporary, path)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A name beside `path` that nothing has; whatever is there afterwards is deleted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}{BESIDE}{os.getpid()}-{os.urandom(4).hex()}")
    try:
        yield temporary
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with suppress(FileNotFoundError):
                temporary.unlink()
