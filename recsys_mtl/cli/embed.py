"""`recsys-mtl embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recsys_mtl.cli.command import Command, say
from recsys_mtl.cli.garbage import uncollected
from recsys_mtl.cli.options import Csv, OptionalModel, OptionalModelFolder, Out, RegistryUri


def embed(
    input: Annotated[str, typer.Option(metavar="PATH", help="rows of the users")],
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="folder for users.parquet and items.parquet")
    ],
    run_dir: OptionalModelFolder = None,
    model: OptionalModel = None,
    tracking_uri: RegistryUri = None,
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="the retrieval task, of several")
    ] = None,
    id: Annotated[
        str | None, typer.Option("--id", metavar="COL", help="column as id; else the row's number")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace files that no embed wrote")
    ] = False,
    csv: Csv = None,
    out: Out = None,
    batch_rows: Annotated[int, typer.Option(min=1, help="rows held at a time")] = 65_536,
) -> None:
    """Write user and item vectors of a retrieval task to Parquet, for an ANN index."""
    with uncollected():
        from recsys_mtl.scoring.embed import embed as library
        from recsys_mtl.scoring.model import find_model

    chosen = find_model(run_dir, model=model, tracking_uri=tracking_uri)
    command = Command("embed", out)
    result = library(
        chosen,
        input=input,
        output=output,
        task=task,
        id=id,
        batch_rows=batch_rows,
        overwrite=overwrite,
        csv=tuple(csv or ()),
    )
    command.write(result)
    say(f"{result['rows']:,} rows, {result['items']:,} items of width {result['dim']}: {output}")
