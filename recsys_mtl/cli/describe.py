"""`recsys-mtl describe`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recsys_mtl.cli.command import Command, show_page


def describe(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a folder synthesize has filled")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="folder for the page; default: next to the data"),
    ] = None,
) -> None:
    """Show rates, relations, reachable metrics and missing values of generated rows."""
    from data_synth import Truth
    from recsys_mtl.reports.output import prepare_out
    from recsys_mtl.synthetic import describe as library

    truth = Truth.open(folder)
    command = Command("describe", out, ("describe.html", "describe.png"))
    pages = prepare_out(folder) if out is None else out
    report = library.describe(truth)
    written = report.page.write(pages, "describe", html=report.html)
    show_page(report.page, written)
    command.write(report.numbers | {"page": written[-1]})
