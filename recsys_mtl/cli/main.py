"""The command line, `recsys-mtl COMMAND`: options in, exit codes and error lines out.

Exit codes: 0 done; 1 a bug, with its traceback, or an unhealthy `doctor`; 2 the user's input or
the disk, each problem in one line that starts with `error: `; 3 `promote` rejects the challenger,
and its last line gives the cause; 130 interrupted, where a training has stored the best epoch and
its result before it ends; 143 terminated (SIGTERM), where a training has stored a checkpoint.

Commands import their libraries when they run: help and option errors appear at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from recsys_mtl.cli.ablate import ablate
from recsys_mtl.cli.compare import compare
from recsys_mtl.cli.configs import configs
from recsys_mtl.cli.demo import demo
from recsys_mtl.cli.describe import describe
from recsys_mtl.cli.doctor import doctor
from recsys_mtl.cli.embed import embed
from recsys_mtl.cli.evaluate import evaluate
from recsys_mtl.cli.export import export
from recsys_mtl.cli.init import init
from recsys_mtl.cli.leaderboard import leaderboard
from recsys_mtl.cli.predict import predict
from recsys_mtl.cli.promote import promote
from recsys_mtl.cli.register import register
from recsys_mtl.cli.reproduce import reproduce
from recsys_mtl.cli.rollback import rollback
from recsys_mtl.cli.run import SETTINGS, configure_logging, run_app
from recsys_mtl.cli.schema import schema
from recsys_mtl.cli.serve import serve
from recsys_mtl.cli.synthesize import synthesize
from recsys_mtl.cli.train import train
from recsys_mtl.cli.tune import tune
from recsys_mtl.cli.validate import validate
from recsys_mtl.version import installed_version

COMMANDS = (
    demo,
    init,
    train,
    evaluate,
    ablate,
    tune,
    reproduce,
    predict,
    serve,
    embed,
    export,
    validate,
    synthesize,
    describe,
    configs,
    register,
    promote,
    rollback,
    compare,
    leaderboard,
    doctor,
    schema,
)
"""In the order of the help."""

app = typer.Typer(**SETTINGS | {"add_completion": True})
for command in COMMANDS:
    app.command(short_help=(command.__doc__ or "").partition("\n")[0])(command)


def _version(requested: bool) -> None:
    if requested:
        print(installed_version())
        raise typer.Exit


@app.callback()
def _common(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="log details too")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Train, evaluate and apply multi-task recommenders."""
    configure_logging(verbose=verbose)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and give the process's exit code.

    Args:
        arguments: the command line; the process's own where None.
    """
    words = sys.argv[1:] if arguments is None else arguments
    return run_app(app, words or ["--help"], "recsys-mtl")


if __name__ == "__main__":
    sys.exit(main())
