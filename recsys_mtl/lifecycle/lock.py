"""One promotion of a registered model at a time: tags on it name the processes.

MLflow has no lock and no compare-and-set, so each job adds a tag of its own, its mark, and then
reads all tags. Of two jobs the one that wrote last sees the other's mark, so both never continue,
however slow the server is. The job of the earliest mark waits until the others have left, which
they do at once. A job checks that its mark is there before aliases move. Marks older than an hour
come from jobs that were killed, and so do those of this host whose process is gone; they are
deleted. `--break-lock` while their job is alive gives up the guarantee.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from recsys_mtl.errors import UserError, wrong
from recsys_mtl.files import is_gone
from recsys_mtl.tracking.registry import Registry

log = logging.getLogger(__name__)
LOCK, FREE = "promotion_lock", "free"  # earlier versions kept one mark in one tag
SECONDS, PAUSE = 30.0, 0.1  # that the earliest waits for the others to leave, and between reads
_STALE = timedelta(hours=1)
_OWN = set[str]()
"""Tokens of this process's marks."""


@contextmanager
def locked(registry: Registry, name: str, *, break_lock: bool) -> Iterator[Callable[[], None]]:
    """Hold the lock of a registered model; yields a function that raises if it was lost.

    Args:
        registry: of the model.
        name: of the model.
        break_lock: take it from its holder.

    Raises:
        UserError: another job holds it (the line names the job); or the registry does not answer.
    """
    _free(registry, name, break_lock=break_lock)
    token = secrets.token_hex(4)
    _OWN.add(token)
    key = f"{LOCK}.{token}"
    mark = f"{socket.gethostname()}:{os.getpid()}:{token}:{_now().isoformat()}"

    def check() -> None:
        _others(registry, name, key)

    try:
        registry.set_model_tags(name, {key: mark})
        give_up = time.monotonic() + SECONDS
        while others := _others(registry, name, key):
            if _order(others[0]) < _order(mark) or time.monotonic() > give_up:
                raise _busy(name, others[0])
            time.sleep(PAUSE)
        yield check
    finally:
        _release(registry, name, key)
        _OWN.discard(token)


def _free(registry: Registry, name: str, *, break_lock: bool) -> None:
    """Delete marks of jobs that were killed, or all of them; raise where one is left."""
    for key, mark in _marks(registry, name).items():
        if not (break_lock or _is_stale(mark)):
            raise _busy(name, mark)
        log.warning("the lock of %s is broken: it was held by %s", name, _holder(mark))
        registry.delete_model_tag(name, key)


def _marks(registry: Registry, name: str) -> dict[str, str]:
    """Tag -> mark, the earliest first."""
    tags = registry.model_tags(name)
    marks = {k: mark for k, mark in tags.items() if k.startswith(LOCK) and mark != FREE}
    return dict(sorted(marks.items(), key=lambda item: _order(item[1])))


def _others(registry: Registry, name: str, key: str) -> list[str]:
    """The marks of other jobs, the earliest first; raises where one of them deleted ours."""
    marks = _marks(registry, name)
    if marks.pop(key, None) is None:
        raise _busy(name, next(iter(marks.values()), FREE))
    return list(marks.values())


def _release(registry: Registry, name: str, key: str) -> None:
    try:
        registry.delete_model_tag(name, key)
    except UserError as error:
        log.warning("the lock of %s stays for an hour, or until --break-lock: %s", name, error)


def _busy(name: str, held: str) -> UserError:
    return wrong(
        "another promotion or rollback is at work",
        where=name,
        found="one that has ended since" if held == FREE else f"held by {_holder(held)}",
        fix="try again when it has ended, or give --break-lock where it was killed",
    )


def _order(mark: str) -> tuple[datetime, str]:
    """Sorts marks by their time; those of others come first, as nobody knows when they leave."""
    return _since(mark) or datetime.min.replace(tzinfo=UTC), mark


def _is_stale(held: str) -> bool:
    since = _since(held)
    return since is not None and (_now() - since > _STALE or _is_dead(held))


def _is_dead(held: str) -> bool:
    """Whether the mark's process was of this host and is no more."""
    host, pid, token, _ = held.split(":", 3)
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    if int(pid) == os.getpid():  # in a container a killed job had it too
        return token not in _OWN
    return is_gone(int(pid))


def _since(held: str) -> datetime | None:
    """When a mark was made; None where it is not one of ours."""
    try:
        since = datetime.fromisoformat(held.split(":", 3)[3])
    except (IndexError, ValueError):
        return None
    return since if since.tzinfo is not None else None


def _holder(held: str) -> str:
    since = _since(held)
    if since is None:
        return repr(held)
    host, pid, _ = held.split(":", 2)
    return f"process {pid} on {host} since {since.isoformat(timespec='seconds')}"


def _now() -> datetime:
    return datetime.now(UTC)
