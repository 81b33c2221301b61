"""`recsys-mtl rollback`."""

from __future__ import annotations

from recsys_mtl.cli.garbage import uncollected
from recsys_mtl.cli.job import Job
from recsys_mtl.cli.options import BreakLock, Out, RegisteredName, TrackingUri


def rollback(
    name: RegisteredName,
    break_lock: BreakLock = False,
    tracking_uri: TrackingUri = None,
    out: Out = None,
) -> None:
    """Let champion and previous champion change places; a second rollback undoes the first."""
    with uncollected():
        from recsys_mtl.lifecycle import rollback as library
        from recsys_mtl.tracking.registry import Registry

    registry = Registry(tracking_uri)
    job = Job("rollback", out)
    result = library.rollback(registry, name, break_lock=break_lock)
    job.write(result)
    now, before = result["champion"], result["previous"]
    print(f"{name}: version {now} is the champion again, in place of {before}")
