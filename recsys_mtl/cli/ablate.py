"""`recsys-mtl ablate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recsys_mtl.cli.command import show_page
from recsys_mtl.cli.garbage import uncollected
from recsys_mtl.cli.options import Out, Set, overrides


def ablate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="the ablation's YAML file")],
    chosen: Set = None,
    out: Out = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="seeds trained at the same time; else one a core")
    ] = None,
) -> None:
    """Train arms on paired seeds and report which differences are real (in ablations/NAME)."""
    with uncollected():
        from recsys_mtl.ablation import ablate as library
        from recsys_mtl.ablation.plan import load_ablation

    plan = load_ablation(config, overrides(chosen))
    folder = out or Path("ablations") / plan.name
    library.ablate(plan, folder, processes=processes, show=show_page)
