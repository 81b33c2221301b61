"""One job a folder: a lock that goes with its process, and a file that says who holds it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from recsys_mtl.errors import wrong
from recsys_mtl.files import atomic_write

LOCK, HOLDER = "_lock", "_lock.json"
_PATIENCE = 0.2
"""Seconds. A job that ends deletes its lock; who opened the file just before tries once more."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Inside, no other job may work in the folder.

    The kernel drops the lock of a process that dies, so what a killed job of this machine left is
    taken over. A job of another machine that shares the disk is known by the holder's file alone.

    Raises:
        UserError: another job works there.
    """
    path, lock = folder / HOLDER, FileLock(folder / LOCK, timeout=_PATIENCE)
    try:
        lock.acquire()
    except Timeout:
        raise _taken(path, _holder(path), "wait for it, or give another folder") from None
    try:
        _require_ours(path)
        atomic_write(path, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        (folder / LOCK).unlink(missing_ok=True)  # before others may have it
        lock.release()


def _require_ours(path: Path) -> None:
    holder = _holder(path)
    if holder.get("host", socket.gethostname()) != socket.gethostname():
        raise _taken(path, holder, f"if it does not run any more, delete {path}")


def _holder(path: Path) -> dict[str, Any]:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _taken(path: Path, holder: dict[str, Any], fix: str) -> Exception:
    holding = f"process {holder.get('pid', 'unknown')} on {holder.get('host', 'this machine')}"
    return wrong("another job writes there", where=str(path.parent), found=holding, fix=fix)
