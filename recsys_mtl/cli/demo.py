"""`recsys-mtl demo`."""

from __future__ import annotations

import shlex
import shutil
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from recsys_mtl.cli.command import Command, run_each, say
from recsys_mtl.cli.configs import ready_configs

CONFIGS = {"demo.yaml": "demo.yaml", "ablation.yaml": "ablations/demo.yaml"}
"""In the demo's folder: copies of ready configs."""
COMMANDS = (
    "synthesize demo --rows {rows} --out {out}/data",
    "train {out}/demo.yaml --data {out}/data --baselines --out {out}/run --set {store}",
    "evaluate {out}/run --data {out}/data",
    "ablate {out}/ablation.yaml --out {out}/ablation --set {store}",
)
REPLACED = ("data", "ablation")
"""Folders that a next call makes anew; a training replaces its own."""


def demo(
    context: typer.Context,
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="new folder, or an earlier demo's, which it replaces"),
    ] = Path(".demo"),
    rows: Annotated[int, typer.Option(min=1000, help="that are generated to train on")] = 60_000,
) -> int:
    """Generate rows, train a model next to baselines, evaluate it, ablate adaTT.

    Prints each command before it runs it, in about two minutes. The tables say what the model
    predicts better than a constant, gradient boosting and networks without sharing, how far it is
    from an oracle, and whether borrowing between tasks helps on three paired seeds.
    """
    from recsys_mtl.files import atomic_write

    command = Command("demo", out, (*CONFIGS, *REPLACED, "run", "mlflow.db"))
    command.write({"rows": rows})  # from here on the folder is a demo's
    for name in REPLACED:
        shutil.rmtree(out / name, ignore_errors=True)
    for name, source in CONFIGS.items():
        atomic_write(out / name, (ready_configs() / source).read_bytes())
    uri = f"sqlite:///{out}/mlflow.db"
    values = {"out": out, "rows": rows, "store": f"tracking.uri={uri}"}
    quoted = {name: shlex.quote(str(value)) for name, value in values.items()}
    app = context.find_root().command
    run = partial(app.main, prog_name="recsys-mtl", standalone_mode=False)
    if status := run_each(run, COMMANDS, **quoted):
        return status
    command.write({"rows": rows})
    print()
    say("See the run in MLflow:")
    say(f"  mlflow ui --backend-store-uri {shlex.quote(uri)}")
    return 0
