"""`recsys-mtl compare`."""

from __future__ import annotations

from typing import Annotated

import typer

from recsys_mtl.cli.command import Command
from recsys_mtl.cli.garbage import uncollected
from recsys_mtl.cli.options import Out, TrackingUri


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="folders or MLflow run ids")],
    tracking_uri: TrackingUri = None,
    out: Out = None,
    predict: Annotated[
        bool, typer.Option(help="the models predict the test rows again: differences are paired")
    ] = True,
) -> None:
    """Compare trainings: metrics, which is ahead, cost, and what differs in their configs."""
    command = Command("compare", out, ("compare.html", "compare.md"))
    with uncollected():
        from recsys_mtl.runs import compare as library

        report = library.compare(runs, tracking_uri=tracking_uri, predict=predict)
    report.page.show()
    command.write(report.numbers, report.page)
