"""`recsys-mtl synthesize`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recsys_mtl.cli.command import Command, say
from recsys_mtl.cli.options import Seed, Set, overrides


def synthesize(
    plan: Annotated[str, typer.Argument(metavar="CONFIG", help="a preset or a plan's YAML file")],
    rows: Annotated[int, typer.Option(min=1, help="number of rows")],
    out: Annotated[
        str,
        typer.Option(metavar="DIR", help="new folder or URI, or an unfinished one to resume"),
    ],
    chosen: Set = None,
    seed: Seed = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="draw in so many processes; else one a core")
    ] = None,
) -> None:
    """Generate rows whose task relations and reachable metrics are known."""
    from data_synth import load_plan
    from recsys_mtl.storage.location import located
    from recsys_mtl.synthetic import synthesize as library

    loaded, folder = load_plan(plan, overrides(chosen, seed=seed)), located(out)
    command = Command("synthesize", folder)
    result = command.write(library.synthesize(loaded, rows=rows, out=folder, processes=processes))
    say(f"{out}: {rows:,} rows in {result['seconds']:.1f} s")
    if isinstance(folder, Path):
        say(f"  recsys-mtl describe {folder}")
    say(f"  recsys-mtl train {folder / 'train.yaml'} --data {folder}")
