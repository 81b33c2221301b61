"""`recsys-mtl register`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recsys_mtl.cli.command import Command, say
from recsys_mtl.cli.garbage import uncollected
from recsys_mtl.cli.options import AnyRun, Out, TrackingUri


def register(
    run: AnyRun,
    name: Annotated[str, typer.Option(help="registered model, created where it is new")],
    tracking_uri: TrackingUri = None,
    out: Out = None,
    allow_interrupted: Annotated[
        bool, typer.Option("--allow-interrupted", help="a killed or failed run too")
    ] = False,
) -> None:
    """Check a trained model in a fresh process and register it with its model card."""
    with uncollected():
        from recsys_mtl.lifecycle import register as library

    name_of_card = Path(library.CARD).stem
    command = Command("register", out, (library.CARD, f"{name_of_card}.html"))
    report = library.register(
        run, name=name, tracking_uri=tracking_uri, allow_interrupted=allow_interrupted
    )
    command.write(report.numbers, report.page, file=name_of_card)
    version = f"models:/{name}/{report.numbers['number']}"
    stored = report.numbers["run_id"]
    say(f"registered {version}, which predicts the same in a fresh process: run {stored}")
