"""`recsys-mtl predict`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from recsys_mtl.cli.command import Command, say
from recsys_mtl.cli.garbage import uncollected
from recsys_mtl.cli.options import Csv, OptionalModel, OptionalModelFolder, Out, RegistryUri


class Precision(StrEnum):
    """Of the matrix products when rows are scored."""

    fp32 = "fp32"
    bf16 = "bf16"


def predict(
    input: Annotated[str, typer.Option(metavar="PATH", help="rows to score")],
    output: Annotated[
        str, typer.Option(metavar="PATH", help="X.parquet, or a folder: parts, can be resumed")
    ],
    run_dir: OptionalModelFolder = None,
    model: OptionalModel = None,
    tracking_uri: RegistryUri = None,
    keep: Annotated[
        list[str] | None, typer.Option(metavar="COL", help="column to copy to the output; repeat")
    ] = None,
    rows_per_file: Annotated[
        int | None, typer.Option(min=1, help="rows of a part; 1,000,000 without it")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace another scoring, or another file")
    ] = False,
    drift: Annotated[
        bool, typer.Option(help="compare the rows with the training's (drift.html)")
    ] = True,
    csv: Csv = None,
    out: Out = None,
    batch_rows: Annotated[int, typer.Option(min=1, help="rows scored at a time")] = 65_536,
    precision: Annotated[
        Precision, typer.Option(help="bf16 is faster and has three digits")
    ] = Precision.fp32,
    spread: Annotated[
        bool, typer.Option("--spread", help="columns X_spread: how far the members differ")
    ] = False,
) -> None:
    """Score raw rows to Parquet in bounded memory, and measure their drift."""
    with uncollected():
        from recsys_mtl.reports.page import Page
        from recsys_mtl.scoring import predict as library
        from recsys_mtl.scoring.job import Options
        from recsys_mtl.scoring.model import find_model

    options = Options(
        keep=tuple(keep or ()),
        rows_per_file=rows_per_file,
        overwrite=overwrite,
        drift=drift,
        batch_rows=batch_rows,
        precision=precision.value,
        spread=spread,
        csv=tuple(csv or ()),
    )
    chosen = find_model(run_dir, model=model, tracking_uri=tracking_uri)
    command = Command("predict", out)
    result = library.predict(chosen, input=input, output=output, options=options, show=Page.show)
    command.write(result)
    if result["rows"] and not result["rows_scored"]:
        say(f"{result['rows']:,} rows, finished before: {output}")
    else:
        say(f"{result['rows']:,} rows, {result['rows_per_second']:,.0f} rows/s: {output}")
