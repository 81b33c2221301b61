"""`recsys-mtl evaluate`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from recsys_mtl.cli.command import Command
from recsys_mtl.cli.garbage import uncollected
from recsys_mtl.cli.options import Csv, Data, Out, RunFolder


class Split(StrEnum):
    """The held-out rows that can be evaluated."""

    test = "test"
    valid = "valid"


def evaluate(
    run_dir: RunFolder,
    data: Data = None,
    input: Annotated[
        str | None, typer.Option(metavar="PATH", help="labelled rows; else the run's own split")
    ] = None,
    split: Annotated[Split, typer.Option(help="which rows of the run's data")] = Split.test,
    csv: Csv = None,
    out: Out = None,
) -> None:
    """Measure a trained model on its held-out rows or on other labelled rows."""
    with uncollected():
        from recsys_mtl.runs import evaluate as library

    command = Command("evaluate", out)
    evaluation = library.evaluate(run_dir, data=data, input=input, split=split.value, csv=csv or ())
    evaluation.table.show()
    command.write(evaluation.numbers)
