"""`recsys-mtl reproduce`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from recsys_mtl.cli.command import show_page
from recsys_mtl.cli.garbage import uncollected
from recsys_mtl.cli.options import Out, Set, overrides


def reproduce(
    plan: Annotated[
        str, typer.Argument(metavar="PLAN", help="rot-mnist, celeba, or a plan's YAML file")
    ],
    chosen: Set = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="folder of the images; else $RECSYS_MTL_DATA")
    ] = None,
    out: Out = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="runs trained at the same time; else one a core")
    ] = None,
) -> None:
    """Train a paper's methods and compare their numbers with the published (reproductions/NAME)."""
    from recsys_mtl.vision.reproduction.load import load_reproduction

    loaded = load_reproduction(plan, overrides(chosen))
    # A mistake in the plan is reported before torch is imported.
    with uncollected():
        from recsys_mtl.vision.reproduction import reproduce as library

    folder = Path(os.path.expanduser(out or Path("reproductions") / loaded.name))
    library.reproduce(loaded, folder, data=data, processes=processes, show=show_page)
