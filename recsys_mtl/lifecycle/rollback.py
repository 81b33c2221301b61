"""`recsys-mtl rollback`: the champion of a registered model and the previous one change places."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys_mtl.errors import wrong
from recsys_mtl.lifecycle.commit import Change, commit, decision_tags
from recsys_mtl.lifecycle.lock import locked
from recsys_mtl.lifecycle.rows import load
from recsys_mtl.reports.output import envelope, prepare_out, write_result
from recsys_mtl.tracking.registry import CHAMPION, PREVIOUS, Registry, Version


def run(
    name: str,
    *,
    tracking_uri: str | None = None,
    break_lock: bool = False,
    out: Path | None = None,
) -> dict[str, Any]:
    """Open the registry; see `rollback`."""
    return rollback(Registry(tracking_uri), name, break_lock=break_lock, out=out)


def rollback(
    registry: Registry, name: str, *, break_lock: bool = False, out: Path | None = None
) -> dict[str, Any]:
    """Let `champion` and `previous` change places; a second rollback undoes the first.

    The champion moves first: of a job that is killed between the two, the important half is done,
    and the next promotion sets `previous` right.

    Args:
        registry: that holds both.
        name: of the registered model.
        break_lock: take the lock from whoever has it.
        out: folder for result.json.

    Returns:
        What result.json holds.

    Raises:
        UserError: there is no previous one, it does not load, or the registry failed.
    """
    started = datetime.now(UTC)
    out = None if out is None else prepare_out(out)
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
    result = envelope("rollback", started=started)
    result |= {"name": name, "champion": back.number, "previous": champion.number}
    if out is not None:
        write_result(out, result)
    print(f"{name}: version {back.number} is the champion again, in place of {champion.number}")
    return result


def _both(registry: Registry, name: str) -> tuple[Version, Version]:
    """The champion and the previous one."""
    champion, back = registry.alias(name, CHAMPION), registry.alias(name, PREVIOUS)
    if champion is not None and back is not None and champion.number != back.number:
        return champion, back
    found = "the champion itself: an earlier job was cut off"
    if champion is None or back is None:
        found = f"no alias '{CHAMPION if champion is None else PREVIOUS}'"
    fix = f"make a version the champion with recsys-mtl promote {name}"
    raise wrong("no previous champion to go back to", where=name, found=found, fix=fix)
