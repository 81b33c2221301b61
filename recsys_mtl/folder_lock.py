"""One job a folder: a lock that ends with its process, and a file that names the holder."""

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
from recsys_mtl.files import TEMPORARY, atomic_write
from recsys_mtl.storage.location import Location
from recsys_mtl.storage.remote_path import RemotePath

LOCK, HOLDER = "_lock", "_lock.json"
_WAIT = 0.2
"""Seconds. A job that ends deletes its lock; a job that opened the file just before tries again."""


@contextmanager
def locked(folder: Location) -> Iterator[None]:
    """Inside, no other job may work in the folder; a store has no locks.

    The kernel drops the lock of a process that dies, so the lock of a killed job of this machine is
    free again. A job of another machine that shares the disk shows in the holder's file alone.

    Raises:
        UserError: another job works there.
    """
    if isinstance(folder, RemotePath):
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    path, lock = folder / HOLDER, FileLock(folder / LOCK, timeout=_WAIT)
    try:
        lock.acquire()
    except Timeout:
        raise _taken(path, _holder(path), "wait for it, or give another folder") from None
    try:
        _require_ours(path)
        for left in folder.glob(f"{HOLDER}{TEMPORARY}*"):  # of a job that was killed as it began
            left.unlink(missing_ok=True)
        atomic_write(path, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        (folder / LOCK).unlink(missing_ok=True)  # before another job may acquire it
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
