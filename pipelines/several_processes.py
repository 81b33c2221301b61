"""One training in one process and in several: the same losses, and the rows/s of both.

    python pipelines/several_processes.py --out OUT
    python pipelines/several_processes.py --out OUT --processes 4 --rows 1000000

does what these commands do, one after the other: generate rows, train them in one process and in
several, and score them with the model of the several. Then the losses of every epoch and the
metrics of the test rows are compared, relative to those above 1. There is no dropout, which
processes draw on their own. The table has the largest difference and what each training took; exit
code 1: they differ by more than `--tolerance`. Both trainings have as many threads in all as there
are processes.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from recsys_mtl.cli.command import Command
from recsys_mtl.cli.script import run_commands, run_script
from recsys_mtl.cli.status import DONE, UNHEALTHY
from recsys_mtl.reports.page import Page, Table

COMMANDS = (
    "synthesize {preset} --rows {rows} --out {out}/data",
    "train {out}/data/train.yaml --data {out}/data --out {out}/one {same} --set {threads}={count}",
    "train {out}/data/train.yaml --data {out}/data --out {out}/several {same} --set {threads}=1"
    " --processes {count}",
    "predict {out}/several --input {out}/data/rows --output {out}/scores.parquet",
)
REPLACED = ("data", "one", "several")
SAME = (
    "training.recipe=none",
    "training.epochs=2",
    "model.dropout=0",
    "model.tower_dropout=0",
    "tracking.enabled=false",
)


def several_processes(
    out: Annotated[Path, typer.Option(help="new, or an earlier call's")] = Path(".processes"),
    processes: Annotated[int, typer.Option(min=2, help="that train together")] = 2,
    rows: Annotated[int, typer.Option(min=1000, help="that are generated to train on")] = 20_000,
    preset: Annotated[str, typer.Option(help="of the rows")] = "demo",
    set: Annotated[
        list[str] | None, typer.Option(help="K=V of the config of both trainings; repeat")
    ] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="largest difference")] = 1e-4,
) -> int:
    """Train in one process and in several; compare losses, metrics and rows/s."""
    command = Command("several_processes", out, (*REPLACED, "scores.parquet"))
    command.write({})  # from here on the folder is ours
    for name in REPLACED:
        shutil.rmtree(out / name, ignore_errors=True)
    same = " ".join(f"--set {change}" for change in (*SAME, *(set or ())))
    values = {"rows": rows, "preset": preset, "count": processes, "same": same}
    if status := run_commands(COMMANDS, out=out, threads="training.threads", **values):
        return status
    results = [json.loads((out / name / "result.json").read_text()) for name in ("one", "several")]
    one, other = (dict(numbers(result)) for result in results)
    apart = {key: abs(value - other[key]) / max(1, abs(value)) for key, value in one.items()}
    largest = max(apart, key=lambda key: apart[key])
    difference = apart[largest]
    command.write({"largest": largest, "difference": difference, "processes": processes})
    note = f"largest difference: {difference:.2g}, of the {largest}"
    page(dict(zip(("1", f"{processes}"), results, strict=True)), note).show()
    return DONE if difference <= tolerance else UNHEALTHY


def numbers(result: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Losses of every epoch and split, and metrics of the test rows, by name."""
    for epoch in result["training"]["epochs"]:
        for split in ("train_losses", "valid_losses"):
            for task, loss in epoch[split].items():
                yield f"{split} of {task} in epoch {epoch['epoch']}", loss
    for task, of_task in result["tasks"].items():
        for name, metric in of_task["metrics"].items():
            if metric["value"] is not None:
                yield f"{name} of {task}", metric["value"]


def page(results: Mapping[str, Mapping[str, Any]], note: str) -> Page:
    """What the trainings took, by the number of processes."""
    cells = [
        [count, f"{result['training']['rows_per_second']:,.0f}", f"{result['peak_memory_mb']:,.0f}"]
        for count, result in results.items()
    ]
    columns = ("processes", "rows/s", "peak memory of the first, MiB")
    return Page("", [Table("One training", columns, cells, note=note)])


if __name__ == "__main__":
    sys.exit(run_script(several_processes))
