"""One job a folder: a lock file that says who works there and goes with its process."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from recsys_mtl.errors import wrong

LOCK = "_lock.json"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Inside, no other job may work in the folder.

    The kernel drops the lock of a process that dies, so what a killed job of this machine left is
    taken over. A job of another machine that shares the disk is known by the file alone.

    Raises:
        UserError: another job works there.
    """
    descriptor = _opened(folder / LOCK)
    try:
        _require_ours(descriptor, folder / LOCK)
        os.ftruncate(descriptor, 0)
        me = {"pid": os.getpid(), "host": socket.gethostname()}
        os.pwrite(descriptor, json.dumps(me).encode(), 0)
        try:
            yield
        finally:
            (folder / LOCK).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    """A locked descriptor of the file that is there now; one may be deleted while it is locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise _taken(path, holder, "wait for it, or give another folder") from None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


def _require_ours(descriptor: int, path: Path) -> None:
    holder = _holder(descriptor)
    if holder.get("host", socket.gethostname()) != socket.gethostname():
        raise _taken(path, holder, f"if it does not run any more, delete {path}")


def _holder(descriptor: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:  # killed before it wrote
        return {}
    return found if isinstance(found, dict) else {}


def _taken(path: Path, holder: dict[str, Any], fix: str) -> Exception:
    found = f"process {holder.get('pid', 'unknown')} on {holder.get('host', 'this machine')}"
    return wrong("another job writes there", where=str(path.parent), found=found, fix=fix)
