"""The demo: generated rows, a model beside its baselines and what is reachable, an ablation.

    python pipelines/demo.py

does what these commands do, one after the other, in about two minutes (`make demo` makes the
environment first). The tables say what the model predicts better than a constant, gradient
boosting and networks without sharing, how far it is from an oracle, and whether borrowing between
tasks helps on three paired seeds. Everything is in `.demo`, which a next call replaces.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from recsys_mtl.cli.script import run_commands, run_script

COMMANDS = (
    "synthesize demo --rows {rows} --out {out}/data",
    "train configs/demo.yaml --data {out}/data --baselines --out {out}/run --set {store}",
    "evaluate {out}/run --data {out}/data",
    "ablate configs/ablations/demo.yaml --out {out}/ablation --set {store}",
)


def demo(
    out: Annotated[Path, typer.Option(help="folder, emptied first")] = Path(".demo"),
    rows: Annotated[int, typer.Option(min=1000, help="that are generated to train on")] = 60_000,
) -> int:
    """Generate rows, train beside baselines, evaluate, ablate; say how to look at it in MLflow."""
    uri = f"sqlite:///{out}/mlflow.db"
    for name in ("data", "ablation"):
        shutil.rmtree(out / name, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    if status := run_commands(COMMANDS, out=out, rows=rows, store=f"tracking.uri={uri}"):
        return status
    print(f"\nLook at the run in MLflow:\n  .venv/bin/mlflow ui --backend-store-uri {uri}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(demo))
