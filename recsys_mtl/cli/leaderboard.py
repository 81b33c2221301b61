"""`recsys-mtl leaderboard`."""

from __future__ import annotations

from typing import Annotated

import typer

from recsys_mtl.cli.command import Command
from recsys_mtl.cli.garbage import uncollected
from recsys_mtl.cli.options import Out, TrackingUri


def leaderboard(
    experiment: Annotated[str | None, typer.Option(help="of the runs; else all")] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="TASK/METRIC", help="or loss; else the mean over tasks")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="most runs")] = 20,
    tracking_uri: TrackingUri = None,
    out: Out = None,
) -> None:
    """Rank the finished runs in MLflow, with the models registered from them."""
    command = Command("leaderboard", out, ("leaderboard.html", "leaderboard.md"))
    with uncollected():
        from recsys_mtl.runs import leaderboard as library

        report = library.leaderboard(
            experiment=experiment, metric=metric, limit=limit, tracking_uri=tracking_uri
        )
    report.page.show()
    command.write(report.numbers, report.page)
