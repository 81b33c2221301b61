"""`recsys-mtl rollback`."""

from __future__ import annotations

from recsys_mtl.cli.command import Command, say
from recsys_mtl.cli.garbage import uncollected
from recsys_mtl.cli.options import BreakLock, Out, RegisteredName, TrackingUri


def rollback(
    name: RegisteredName,
    break_lock: BreakLock = False,
    tracking_uri: TrackingUri = None,
    out: Out = None,
) -> None:
    """Swap champion and previous champion; a second rollback undoes the first."""
    with uncollected():
        from recsys_mtl.lifecycle import rollback as library
        from recsys_mtl.tracking.registry import Registry

    registry = Registry(tracking_uri)
    command = Command("rollback", out)
    result = library.rollback(registry, name, break_lock=break_lock)
    command.write(result)
    now, before = result["champion"], result["previous"]
    say(f"{name}: version {now} is the champion again, in place of {before}")
