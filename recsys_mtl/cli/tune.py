"""`recsys-mtl tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recsys_mtl.cli.command import say, show_page
from recsys_mtl.cli.garbage import uncollected
from recsys_mtl.cli.options import Out, Set, overrides
from recsys_mtl.cli.status import DONE, INTERRUPTED


def tune(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="a run's YAML file, or a tuning's")
    ],
    chosen: Set = None,
    space: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="ready-made space: rates, size, …; repeatable"),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="TASK/METRIC", help="or loss, or per_task: a front")
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, metavar="N", help="how many")] = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="M", help="no trial begins after so many")
    ] = None,
    out: Out = None,
    processes: Annotated[
        int, typer.Option(min=1, metavar="N", help="trials that run at the same time")
    ] = 1,
) -> int:
    """Search for better settings of a config by its validation rows (in tunings/NAME)."""
    with uncollected():
        from recsys_mtl.tuning import load_tuning
        from recsys_mtl.tuning import tune as library

    options = {"ready": space, "metric": metric, "trials": trials, "minutes": minutes}
    given = {key: value for key, value in options.items() if value is not None}
    plan = load_tuning(config, overrides(chosen), given)
    folder = out or Path("tunings") / plan.name
    result = library(plan, folder, processes=processes, show=show_page)
    if (best := folder / "best.yaml").exists():
        say(f"next: recsys-mtl train {best}")
    if (comparison := folder / "ablation.yaml").exists():
        say(f"      recsys-mtl ablate {comparison}")
    return INTERRUPTED if result["interrupted"] else DONE
