"""One promotion of a registered model at a time: a tag on it names the process.

MLflow has no lock and no compare-and-set. A job writes its own mark into the tag, waits, and
continues only if the tag still holds that mark; it checks again before aliases move. Marks older
than an hour come from jobs that were killed, and are replaced.
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
from recsys_mtl.tracking.registry import Registry

log = logging.getLogger(__name__)
LOCK, FREE = "promotion_lock", "free"
SECONDS = 1.0
_STALE = timedelta(hours=1)


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
    held = registry.model_tags(name).get(LOCK, FREE)
    if held != FREE:
        if not (break_lock or _is_stale(held)):
            raise _busy(name, held)
        log.warning("the lock of %s is broken: it was held by %s", name, _holder(held))
    mine = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}:{_now().isoformat()}"

    def check() -> None:
        mark = registry.model_tags(name).get(LOCK, FREE)
        if mark != mine:
            raise _busy(name, mark)

    try:
        registry.set_model_tags(name, {LOCK: mine})
        time.sleep(SECONDS)
        check()
        yield check
    finally:
        _release(registry, name, mine)


def _release(registry: Registry, name: str, mine: str) -> None:
    try:
        if registry.model_tags(name).get(LOCK) == mine:
            registry.set_model_tags(name, {LOCK: FREE})
    except UserError as error:
        log.warning("the lock of %s stays for an hour, or until --break-lock: %s", name, error)


def _busy(name: str, held: str) -> UserError:
    return wrong(
        "another promotion or rollback is at work",
        where=name,
        found="one that has ended since" if held == FREE else f"held by {_holder(held)}",
        fix="try again when it has ended, or give --break-lock where it was killed",
    )


def _is_stale(held: str) -> bool:
    since = _since(held)
    return since is not None and _now() - since > _STALE


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
