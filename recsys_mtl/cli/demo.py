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
    "synthesize demo --rows {rows} --seed {seed} --set {close} --out {out}/data",
    "train {out}/demo.yaml --data {out}/data --seed {seed} --baselines "
    "--out {out}/run --resume never --set {store}",
    "evaluate {out}/run --data {out}/data",
    "ablate {out}/ablation.yaml --set base={out}/demo.yaml --set seeds.first={seed} "
    "--out {out}/ablation --set {store}",
)
CLOSE = "relations.groups.buying.within=0.8"
"""Clicks, conversions and their value are close relatives, as in the ablation."""
REPLACED = ("data", "ablation")
"""Folders that a next call makes anew; a training replaces its own."""


def demo(
    context: typer.Context,
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="new folder, or an earlier demo's, which it replaces"),
    ] = Path(".demo"),
    rows: Annotated[int, typer.Option(min=1000, help="that are generated to train on")] = 12_000,
    seed: Annotated[int, typer.Option(min=0, help="of rows and networks")] = 0,
) -> int:
    """Generate rows, train a model next to baselines, evaluate it, ablate sharing.

    Prints each command before it runs it, in about two minutes. The tables say what the model
    predicts better than a constant, gradient boosting and a network a task, how far it is from an
    oracle, and on paired seeds for which tasks sharing one network pays. Sentences at the end sum
    up that last question.
    """
    from recsys_mtl.ablation.sharing import sharing_of
    from recsys_mtl.files import atomic_write
    from recsys_mtl.reports.page import Page

    command = Command("demo", out, (*CONFIGS, *REPLACED, "run", "mlflow.db"))
    command.write({"rows": rows})  # from here on the folder is a demo's
    for name in REPLACED:
        shutil.rmtree(out / name, ignore_errors=True)
    for name, source in CONFIGS.items():
        atomic_write(out / name, (ready_configs() / source).read_bytes())
    uri = f"sqlite:///{out}/mlflow.db"
    values = {
        "out": out, "rows": rows, "seed": seed, "close": CLOSE, "store": f"tracking.uri={uri}",
    }  # fmt: skip
    quoted = {name: shlex.quote(str(value)) for name, value in values.items()}
    app = context.find_root().command
    run = partial(app.main, prog_name="recsys-mtl", standalone_mode=False)
    if status := run_each(run, COMMANDS, **quoted):
        return status
    shown = sharing_of(out / "ablation")
    command.write({"rows": rows, "sharing": shown})
    print()
    Page("What this shows", shown.sentences).show()
    print()
    say("See the run in MLflow:")
    say(f"  mlflow ui --backend-store-uri {shlex.quote(uri)}")
    return 0
