"""Atomic writes: a temporary file next to the target, renamed when it is complete.

An object of a store is uploaded when it is complete on the disk.
"""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import socket
import sys
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recsys_mtl.storage.location import Location, OneKind
from recsys_mtl.storage.remote_path import RemotePath

TEMPORARY = ".tmp-"  # in the names of files that are being written


def atomic_write(path: OneKind, content: str | bytes) -> OneKind:
    """Write a temporary file and rename it: readers get the old content or the new one."""
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)
    return path


def remove_folder(folder: Location, *, missing_ok: bool = False) -> None:
    """Delete a folder with all that is in it."""
    if isinstance(folder, RemotePath):
        folder.delete_folder()
    else:
        shutil.rmtree(folder, ignore_errors=missing_ok)


def remove_at_once(folder: Path) -> None:
    """Delete a folder, if it is there; a kill leaves `.tmp-NAME.old` at most, for the next call."""
    aside = folder.with_name(f"{TEMPORARY}{folder.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    with suppress(FileNotFoundError):
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def temporary_folder(owner: object) -> Path:
    """A new folder for temporary files, deleted with its owner or at the end of the process."""
    folder = Path(tempfile.mkdtemp(prefix="recsys-mtl-"))
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def folder_made(folder: Location) -> Iterator[Location]:
    """`folder` is there inside; what was made for it and is empty at the end is removed again."""
    if isinstance(folder, RemotePath):  # objects need none
        yield folder
        return
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    finally:
        for path in missing:
            with suppress(OSError):
                path.rmdir()


def free_space(folder: Location) -> int:
    """Bytes that are free where the folder is, or will be made; the largest number in a store."""
    if isinstance(folder, RemotePath):
        return sys.maxsize
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


@contextmanager
def atomic_file(path: Location, *, prefix: str = "") -> Iterator[Path]:
    """A temporary name to write to; it becomes `path` when the block ends without error.

    Args:
        path: the file.
        prefix: of the temporary name; readers of data sets skip files that start with `_`. With it,
            what killed processes left of the same file or folder is deleted, which may be large.
    """
    if isinstance(path, RemotePath):
        with tempfile.TemporaryDirectory(prefix="recsys-mtl-") as scratch:
            yield Path(scratch, path.name)
            path.upload(Path(scratch, path.name))
        return
    with _temporary(path, prefix) as temporary:
        yield temporary
        os.replace(temporary, path)


def is_gone(pid: int) -> bool:
    """Whether no process of this machine has this number."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)
    return False


def delete_left(folder: Path, pattern: str) -> None:
    """Delete what killed processes of this machine left of files and folders of such names."""
    for left in folder.glob(f"{pattern}{TEMPORARY}*"):
        if _is_left(left):
            _delete(left)


def _is_left(temporary: Path) -> bool:
    """Whether its process was of this machine and is gone."""
    pid, _, others = temporary.name.rpartition(TEMPORARY)[2].partition("-")
    return pid.isdecimal() and others.startswith(_host()) and is_gone(int(pid))


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


@contextmanager
def _temporary(path: Path, prefix: str) -> Iterator[Path]:
    """An unused name next to `path`; what exists under it afterwards is deleted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if prefix:
        delete_left(path.parent, f"{prefix}{glob.escape(path.name)}")
    unused = f"{os.getpid()}-{_host()}{os.urandom(4).hex()}"
    temporary = path.with_name(f"{prefix}{path.name}{TEMPORARY}{unused}")
    try:
        yield temporary
    finally:
        _delete(temporary)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
