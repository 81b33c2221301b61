"""The command line, `recsys-mtl JOB`: options in, exit codes and error lines out.

Exit codes: 0 done; 1 a bug, with its traceback, or an unhealthy `doctor`; 2 the user's input or
the disk, each problem in one line that starts with `error: `; 3 `promote` rejects the challenger,
and its last line says why; 130 interrupted, where a training has stored the best epoch and its
result before it ends.

Jobs are imported when they run, so that help and mistakes in the options come at once.
"""

from __future__ import annotations

import errno
import importlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Any

import typer

from recsys_mtl.errors import UserError

UsageError: Any = typer.BadParameter.__mro__[1]  # new typer bundles click: no other name
_INTERRUPTED = 130
_REJECTED = 3
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="the run's YAML file")]
Run = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="the folder a training wrote")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="K=V", help="override, such as training.epochs=3"),
]
Data = Annotated[Path | None, typer.Option(metavar="DIR", help="folder that data paths start from")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="folder for result.json and more")]
AnyRun = Annotated[
    str, typer.Argument(metavar="RUN", help="the folder a training wrote, or an MLflow run id")
]
TrackingUri = Annotated[
    str | None, typer.Option(metavar="URI", help="MLflow's store; else as train finds it")
]
RegisteredName = Annotated[str, typer.Argument(metavar="NAME", help="the registered model")]
BreakLock = Annotated[
    bool, typer.Option("--break-lock", help="go on though a killed promotion holds the lock")
]


class Split(StrEnum):
    """The held-out rows that can be evaluated."""

    test = "test"
    valid = "valid"


class Format(StrEnum):
    """What a network can be exported as."""

    torch = "torch"


class Precision(StrEnum):
    """Of the matrix products when rows are scored."""

    fp32 = "fp32"
    bf16 = "bf16"


_JOBS = {
    "train": "runs.train",
    "evaluate": "runs.evaluate",
    "ablate": "ablation.ablate",
    "reproduce": "vision.reproduction.reproduce",
    "predict": "scoring.predict",
    "export": "scoring.export",
    "validate": "runs.validate",
    "synthesize": "synthetic.synthesize",
    "describe": "synthetic.describe",
    "register": "lifecycle.register",
    "promote": "lifecycle.promote",
    "rollback": "lifecycle.rollback",
    "runs": "runs.compare",
    "leaderboard": "runs.leaderboard",
    "doctor": "cli.doctor",
    "schema": "cli.schema",
}


def _job(name: str) -> Any:
    return importlib.import_module(f"recsys_mtl.{_JOBS[name]}")


def _overrides(chosen: list[str] | None, data: Path | None, seed: int | None = None) -> list[str]:
    """`--set`, then the options that are short for one."""
    overrides = list(chosen or ())
    if data is not None:
        overrides.append(f"data.root={json.dumps(str(data))}")
    if seed is not None:
        overrides.append(f"seed={seed}")
    return overrides


def _version(asked: bool) -> None:
    if asked:
        print(installed_version("recsys-mtl"))
        raise typer.Exit


@app.callback()
def _common(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="log details too")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Train, evaluate and apply multi-task recommenders."""
    _configure_logging(verbose)


@app.command()
def train(
    config: Config,
    chosen: Set = None,
    data: Data = None,
    out: Out = None,
    baselines: Annotated[bool, typer.Option(help="train the baselines as well")] = False,
    seed: Annotated[int | None, typer.Option(help="short for --set seed=N")] = None,
) -> int:
    """Train a model, evaluate it, and log and store the run (in runs/NAME without --out)."""
    overrides = _overrides(chosen, data, seed)
    result = _job("train").run(config, overrides=overrides, out=out, baselines=baselines)
    return _INTERRUPTED if result["interrupted"] else 0


@app.command()
def evaluate(
    run_dir: Run,
    data: Data = None,
    input: Annotated[
        str | None, typer.Option(metavar="PATH", help="labelled rows; else the run's own split")
    ] = None,
    split: Annotated[Split, typer.Option(help="which rows of the run's data")] = Split.test,
    out: Out = None,
) -> None:
    """Measure a trained model on its held-out rows or on other labelled rows."""
    _job("evaluate").run(run_dir, data=data, input=input, split=split.value, out=out)


@app.command()
def ablate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="the ablation's YAML file")],
    chosen: Set = None,
    out: Out = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="seeds trained at the same time; else one a core")
    ] = None,
) -> None:
    """Train arms on paired seeds and say which differences are real (in ablations/NAME)."""
    _job("ablate").run(config, overrides=list(chosen or ()), out=out, processes=processes)


@app.command()
def reproduce(
    plan: Annotated[
        str, typer.Argument(metavar="PLAN", help="rot-mnist, celeba, or a plan's YAML file")
    ],
    chosen: Set = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="folder of the images; else $RECSYS_MTL_DATA")
    ] = None,
    out: Out = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="runs trained at the same time; else one a core")
    ] = None,
) -> None:
    """Train a paper's methods and set their numbers beside the published (reproductions/NAME)."""
    _job("reproduce").run(
        plan, overrides=list(chosen or ()), data=data, out=out, processes=processes
    )


@app.command()
def predict(
    input: Annotated[str, typer.Option(metavar="PATH", help="rows to score")],
    output: Annotated[
        Path, typer.Option(metavar="PATH", help="X.parquet, or a folder: parts, with going on")
    ],
    run_dir: Annotated[
        Path | None, typer.Argument(metavar="RUN_DIR", help="a run's folder, or its model folder")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="models:/NAME@champion or models:/NAME/3")
    ] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(metavar="URI", help="the registry of --model")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(metavar="COL", help="column to copy to the output; repeat")
    ] = None,
    rows_per_file: Annotated[
        int | None, typer.Option(min=1, help="rows of a part; 1,000,000 without it")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace another scoring in the folder")
    ] = False,
    drift: Annotated[
        bool, typer.Option(help="compare the rows with the training's (drift.html)")
    ] = True,
    out: Out = None,
    batch_rows: Annotated[int, typer.Option(min=1, help="rows scored at a time")] = 65_536,
    precision: Annotated[
        Precision, typer.Option(help="bf16 is faster and has three digits")
    ] = Precision.fp32,
) -> None:
    """Score raw rows to Parquet in bounded memory, and measure their drift."""
    options = {
        "keep": tuple(keep or ()),
        "rows_per_file": rows_per_file,
        "overwrite": overwrite,
        "drift": drift,
        "batch_rows": batch_rows,
        "precision": precision.value,
    }
    chosen = {"model": model, "tracking_uri": tracking_uri, "options": options}
    _job("predict").run(run_dir, input=input, output=output, out=out, **chosen)


@app.command()
def export(
    output: Annotated[Path, typer.Option(metavar="DIR", help="new folder for the program")],
    run_dir: Annotated[
        Path | None, typer.Argument(metavar="RUN_DIR", help="a run's folder, or its model folder")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="instead of RUN_DIR: models:/NAME@champion"),
    ] = None,
    tracking_uri: TrackingUri = None,
    format: Annotated[Format, typer.Option(help="of the program")] = Format.torch,
    out: Out = None,
) -> None:
    """Write a model as a torch.export program, which needs torch but not this package."""
    _job("export").run(
        run_dir, output=output, model=model, tracking_uri=tracking_uri, format=format.value, out=out
    )


@app.command()
def validate(config: Config, chosen: Set = None, data: Data = None, out: Out = None) -> None:
    """Check a config and the schema of its data without training."""
    _job("validate").run(config, overrides=_overrides(chosen, data), out=out)


@app.command()
def synthesize(
    plan: Annotated[str, typer.Argument(metavar="CONFIG", help="a preset or a plan's YAML file")],
    rows: Annotated[int, typer.Option(min=1, help="number of rows")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="new folder, or a begun one to go on")],
    chosen: Set = None,
    seed: Annotated[int | None, typer.Option(help="short for --set seed=N")] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="draw in so many processes; else one a core")
    ] = None,
) -> None:
    """Generate rows whose task relations and reachable metrics are known."""
    overrides = _overrides(chosen, None, seed)
    _job("synthesize").run(plan, rows=rows, out=out, overrides=overrides, processes=processes)


@app.command()
def describe(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a folder synthesize has filled")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="folder for the page; else beside the data")
    ] = None,
) -> None:
    """Show rates, relations, reachable metrics and missing values of generated rows."""
    _job("describe").run(folder, out=out)


@app.command()
def register(
    run: AnyRun,
    name: Annotated[str, typer.Option(help="registered model, created where it is new")],
    tracking_uri: TrackingUri = None,
    out: Out = None,
    allow_interrupted: Annotated[
        bool, typer.Option("--allow-interrupted", help="a killed or failed run too")
    ] = False,
) -> None:
    """Check a trained model in a fresh process and register it with its model card."""
    _job("register").run(
        run, name=name, tracking_uri=tracking_uri, out=out, allow_interrupted=allow_interrupted
    )


@app.command()
def promote(
    name: RegisteredName,
    challenger: Annotated[
        str, typer.Option(metavar="V", help="number of the version to try, or an alias")
    ],
    gate: Annotated[
        Path | None, typer.Option(metavar="YAML", help="its rules, as configs/gate.yaml")
    ] = None,
    input: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="labelled rows; else the challenger's test split"),
    ] = None,
    data: Data = None,
    chosen: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="a rule, such as worst=0.002")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="decide, and leave the registry as it is")
    ] = False,
    break_lock: BreakLock = False,
    tracking_uri: TrackingUri = None,
    out: Out = None,
) -> int:
    """Make a version the champion if it passes the gate; exit code 3 where it is rejected."""
    job = _job("promote")
    request = job.Request(
        name, challenger, input=input, data=data, dry_run=dry_run, break_lock=break_lock, out=out
    )
    result = job.run(request, gate=gate, overrides=list(chosen or ()), tracking_uri=tracking_uri)
    return 0 if result["decision"]["passed"] else _REJECTED


@app.command()
def rollback(
    name: RegisteredName,
    break_lock: BreakLock = False,
    tracking_uri: TrackingUri = None,
    out: Out = None,
) -> None:
    """Let champion and previous champion change places; a second rollback undoes the first."""
    _job("rollback").run(name, tracking_uri=tracking_uri, break_lock=break_lock, out=out)


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="folders or MLflow run ids")],
    tracking_uri: TrackingUri = None,
    out: Out = None,
) -> None:
    """Set trainings side by side: metrics, cost, and what differs in their configs."""
    _job("runs").run(runs, tracking_uri=tracking_uri, out=out)


@app.command()
def leaderboard(
    experiment: Annotated[str | None, typer.Option(help="of the runs; else all")] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="TASK/METRIC", help="or loss; else the mean over tasks")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="most runs")] = 20,
    tracking_uri: TrackingUri = None,
    out: Out = None,
) -> None:
    """Rank the finished runs in MLflow, with the models registered from them."""
    _job("leaderboard").run(
        experiment=experiment, metric=metric, limit=limit, tracking_uri=tracking_uri, out=out
    )


@app.command()
def doctor(out: Out = None) -> int:
    """Show versions, mismatches with their mend, and devices."""
    return 0 if _job("doctor").run(out)["healthy"] else 1


@app.command()
def schema(
    out: Out = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="print tables for people")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="of synthesize's plan, not a run's")] = False,
) -> None:
    """Print the JSON Schema of a run's config or of a plan, or tables of its keys."""
    _job("schema").run(out, markdown=markdown, plan=plan)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a job and give the process's exit code.

    Args:
        arguments: the command line; the process's own where None.
    """
    try:
        status = app(args=arguments, prog_name="recsys-mtl", standalone_mode=False)
        if status == _INTERRUPTED:  # newer typer's way to tell of an interrupt, and ours
            return _fail("interrupted", status=status)
        return status if isinstance(status, int) else 0
    except UserError as error:
        return _fail(*(str(problem) for problem in error.problems))
    except UsageError as error:
        return _fail(f"{error.format_message()} (see recsys-mtl --help)")
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", status=_INTERRUPTED)
    except (OSError, RuntimeError) as error:  # raised again, unless the disk is behind it
        if full := next(filter(_is_disk_full, _chain(error)), None):
            return _fail(f"out of disk: {full}")
        raise


def _fail(*problems: str, status: int = 2) -> int:
    for problem in problems:
        print("error:", " ".join(problem.split()), file=sys.stderr)
    return status


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_disk_full(error: BaseException) -> bool:
    """By number, or by text where a library in another language lost the number."""
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return True
    told = (*(os.strerror(code) for code in _DISK_FULL), "database or disk is full")
    return any(text in str(error) for text in told)


def _configure_logging(verbose: bool) -> None:
    """Our log lines on stderr; of other libraries only warnings, and those of Python if verbose."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
    )
    logging.getLogger("recsys_mtl").setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(logging.WARNING if verbose else logging.ERROR)
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "INFO" if verbose else "WARNING")


if __name__ == "__main__":
    sys.exit(main())
