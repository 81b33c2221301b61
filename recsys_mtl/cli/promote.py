"""`recsys-mtl promote`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recsys_mtl.cli.command import Command, say
from recsys_mtl.cli.garbage import uncollected
from recsys_mtl.cli.options import BreakLock, Data, Out, RegisteredName, TrackingUri, overrides
from recsys_mtl.cli.status import DONE, REJECTED


def promote(
    name: RegisteredName,
    challenger: Annotated[
        str, typer.Option(metavar="V", help="number of the version to try, or an alias")
    ],
    gate: Annotated[
        Path | None, typer.Option(metavar="YAML", help="its rules, as configs/gate.yaml")
    ] = None,
    input: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="labelled rows; else the challenger's test split"),
    ] = None,
    data: Data = None,
    chosen: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="a rule, such as worst=0.002")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="decide, and leave the registry as it is")
    ] = False,
    break_lock: BreakLock = False,
    tracking_uri: TrackingUri = None,
    out: Out = None,
) -> int:
    """Make a version the champion if it passes the gate; exit code 3 where it is rejected."""
    with uncollected():
        from recsys_mtl.lifecycle import promote as library
        from recsys_mtl.lifecycle.gate import load_gate
        from recsys_mtl.tracking.registry import Registry

    registry = Registry(tracking_uri)
    rules = load_gate(gate, overrides(chosen))
    request = library.Request(
        name, challenger, input=input, data=data, dry_run=dry_run, break_lock=break_lock
    )
    command = Command("promote", out, ("report.html", "report.md"))
    report = library.promote(registry, rules, request)
    command.write(report.numbers, report.page, file="report")
    report.page.show()
    decision = report.numbers["decision"]
    version = f"version {challenger} of {name}"
    if not decision["passed"]:
        say(f"rejected: {version}: {decision['reason']}")
        return REJECTED
    say(f"would be promoted: {version}" if dry_run else f"promoted: {version} is the champion")
    return DONE
