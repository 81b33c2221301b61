"""A decision written to the registry so that no cut leaves it without its champion.

Reports come first, then tags, then aliases, `champion` last in a promotion. Where a write fails,
what aliases were moved are put back. Where that fails too (the server is gone, the process was
killed), `champion` is the old one or the new one, and `previous` may be the champion itself:
`rollback` then refuses, and the next promotion sets `previous` right.
"""

from __future__ import annotations

import getpass
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from recsys_mtl.errors import UserError, wrong
from recsys_mtl.tracking.registry import CHAMPION, Registry, Version

log = logging.getLogger(__name__)
Aliases = dict[str, int | None]


@dataclass(frozen=True)
class Change:
    """What a decision writes, in this order.

    Attributes:
        version: decided about; its run gets the texts.
        texts: file -> content.
        tags: version's number -> its tags.
        moves: alias -> number, the last one being the one that counts.
        champion: number that has to be the champion still; None: there has to be none.
    """

    version: Version
    tags: Mapping[int, Mapping[str, str]]
    champion: int | None
    texts: Mapping[str, str] = field(default_factory=dict)
    moves: tuple[tuple[str, int], ...] = ()


def decision_tags(
    word: Literal["promoted", "rejected", "rolled back", "failed"],
    reason: str,
    against: int | None,
) -> dict[str, str]:
    """What a version says of the last decision about it."""
    return {
        "decision": word,
        "decision_reason": reason,
        "decision_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "decision_by": f"{_user()}@{socket.gethostname()}",
        "decision_against": "none" if against is None else str(against),
    }


def commit(registry: Registry, change: Change, still_locked: Callable[[], None]) -> None:
    """Write a decision.

    Args:
        registry: to write to.
        change: the decision.
        still_locked: raises where the lock was lost.

    Raises:
        UserError: the champion is another one by now, the lock was lost, or the registry failed;
            no alias has changed, or the log says which could not be put back.
    """
    name = change.version.name
    before = {alias: _number(registry.alias(name, alias)) for alias, _ in change.moves}
    tagging = moving = False
    try:
        _require_champion(registry, change)
        for file, text in change.texts.items():
            registry.log_text(change.version, file, text)
        tagging = True
        for number, tags in change.tags.items():
            registry.set_tags(name, number, tags)
        still_locked()
        _require_champion(registry, change)
        moving = True
        for alias, number in change.moves:
            registry.set_alias(name, alias, number)
    except (UserError, KeyboardInterrupt) as error:
        if not (moving and _arrived(registry, change)):
            _undo(registry, change, before if moving else {}, tagging)
            raise
        if isinstance(error, KeyboardInterrupt):
            raise


def _require_champion(registry: Registry, change: Change) -> None:
    number = _number(registry.alias(change.version.name, CHAMPION))
    if number != change.champion:
        raise wrong(
            "the champion has changed in the meantime, so nothing was changed",
            where=change.version.name,
            expected=_named(change.champion),
            found=_named(number),
            fix="run the command again",
        )


def _arrived(registry: Registry, change: Change) -> bool:
    """Whether all aliases have moved: the last request may have been done, its answer lost."""
    try:
        name = change.version.name
        numbers = [_number(registry.alias(name, alias)) for alias, _ in change.moves]
    except UserError:
        return False
    return bool(numbers) and numbers == [number for _, number in change.moves]


def _undo(registry: Registry, change: Change, before: Aliases, tagged: bool) -> None:
    name = change.version.name
    try:
        for alias, number in reversed(before.items()):
            if _number(registry.alias(name, alias)) == number:
                continue
            if number is None:
                registry.delete_alias(name, alias)
            else:
                registry.set_alias(name, alias, number)
        for number in change.tags if tagged else ():
            reason = "the registry failed or the job was stopped; no alias has changed"
            registry.set_tags(name, number, decision_tags("failed", reason, change.champion))
    except UserError as error:
        log.warning("not all could be restored, check %s and promote again: %s", name, error)


def _number(version: Version | None) -> int | None:
    return None if version is None else version.number


def _named(number: int | None) -> str:
    return "none" if number is None else f"version {number}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"
