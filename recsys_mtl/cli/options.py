"""Arguments and options that several commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="the run's YAML file")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="the folder a training wrote")]
AnyRun = Annotated[
    str, typer.Argument(metavar="RUN", help="the folder a training wrote, or an MLflow run id")
]
OptionalModelFolder = Annotated[
    Path | None, typer.Argument(metavar="RUN_DIR", help="a run's folder, or its model folder")
]
OptionalModel = Annotated[
    str | None, typer.Option(metavar="MODEL", help="models:/NAME@champion or models:/NAME/3")
]
RegistryUri = Annotated[str | None, typer.Option(metavar="URI", help="the registry of --model")]
RegisteredName = Annotated[str, typer.Argument(metavar="NAME", help="the registered model")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="K=V", help="override, such as training.epochs=3"),
]
Csv = Annotated[
    list[str] | None,
    typer.Option("--csv", metavar="K=V", help="how --input is written: delimiter=';' (CSV)"),
]
Seed = Annotated[int | None, typer.Option(help="short for --set seed=N")]
Data = Annotated[str | None, typer.Option(metavar="DIR", help="folder that data paths start from")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="folder for result.json and more")]
TrackingUri = Annotated[
    str | None, typer.Option(metavar="URI", help="MLflow's store; else as train finds it")
]
BreakLock = Annotated[
    bool, typer.Option("--break-lock", help="continue although a killed promotion holds the lock")
]


def overrides(
    chosen: list[str] | None, *, data: str | Path | None = None, seed: int | None = None
) -> list[str]:
    """`--set`, then the options that are short for one."""
    values = list(chosen or ())
    if data is not None:
        values.append(f"data.root={json.dumps(str(data))}")
    if seed is not None:
        values.append(f"seed={seed}")
    return values
