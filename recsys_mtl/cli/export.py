"""`recsys-mtl export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from recsys_mtl.cli.command import Command, say
from recsys_mtl.cli.garbage import uncollected
from recsys_mtl.cli.options import OptionalModelFolder, Out, TrackingUri


class Format(StrEnum):
    """What a network can be exported as."""

    torch = "torch"


def export(
    output: Annotated[Path, typer.Option(metavar="DIR", help="new folder for the program")],
    run_dir: OptionalModelFolder = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="instead of RUN_DIR: models:/NAME@champion"),
    ] = None,
    tracking_uri: TrackingUri = None,
    format: Annotated[Format, typer.Option(help="of the program")] = Format.torch,
    out: Out = None,
) -> None:
    """Write a model as a torch.export program, which needs torch but not this package."""
    with uncollected():
        from recsys_mtl.scoring import export as library

    command = Command("export", out)
    result = library.export(
        run_dir, output=output, model=model, tracking_uri=tracking_uri, format=format.value
    )
    command.write(result)
    say(f"{output}: outputs differ by {result['largest_difference']:.1e} at most")
    say(f"pin (sha256 of its manifest.json): {result['pin']}")
