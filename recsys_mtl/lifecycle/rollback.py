"""Swap the champion of a registered model and the previous one."""

from __future__ import annotations

from typing import Any

from recsys_mtl.errors import wrong
from recsys_mtl.lifecycle.commit import Change, commit, decision_tags
from recsys_mtl.lifecycle.lock import locked
from recsys_mtl.lifecycle.rows import load
from recsys_mtl.tracking.registry import CHAMPION, PREVIOUS, Registry, Version


def rollback(registry: Registry, name: str, *, break_lock: bool = False) -> dict[str, Any]:
    """Swap `champion` and `previous`; a second rollback undoes the first.

    The champion moves first: of a job that is killed between the two, the important half is done,
    and the next promotion sets `previous` right.

    Args:
        registry: that holds both.
        name: of the registered model.
        break_lock: take the lock from its holder.

    Returns:
        The numbers of both versions.

    Raises:
        UserError: there is no previous one, it does not load, or the registry failed.
    """
    champion, back = _both(registry, name)
    load(registry, back, "previous champion")
    reason = f"version {champion.number} was rolled back"
    tags = {
        champion.number: decision_tags("rolled back", f"to version {back.number}", back.number),
        back.number: decision_tags("promoted", reason, champion.number),
    }
    moves = ((CHAMPION, back.number), (PREVIOUS, champion.number))
    change = Change(back, tags, champion.number, moves=moves)
    with locked(registry, name, break_lock=break_lock) as still_locked:
        commit(registry, change, still_locked)
    return {"name": name, "champion": back.number, "previous": champion.number}


def _both(registry: Registry, name: str) -> tuple[Version, Version]:
    """The champion and the previous one."""
    champion, back = registry.alias(name, CHAMPION), registry.alias(name, PREVIOUS)
    if champion is not None and back is not None and champion.number != back.number:
        return champion, back
    previous = "the champion itself: an earlier job was cut off"
    if champion is None or back is None:
        previous = f"no alias '{CHAMPION if champion is None else PREVIOUS}'"
    fix = f"make a version the champion with recsys-mtl promote {name}"
    raise wrong("no previous champion to go back to", where=name, found=previous, fix=fix)
