"""The command line, `recsys-mtl COMMAND`: options in, exit codes and error lines out.

Exit codes: 0 done; 1 a bug, with its traceback, or an unhealthy `doctor`; 2 the user's input or
the disk, each problem in one line that starts with `error: `; 3 `promote` rejects the challenger,
and its last line says why; 130 interrupted, where a training has stored the best epoch and its
result before it ends.

Commands import their libraries when they run, so that help and mistakes in the options come at
once.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from recsys_mtl.cli.ablate import ablate
from recsys_mtl.cli.compare import compare
from recsys_mtl.cli.describe import describe
from recsys_mtl.cli.doctor import doctor
from recsys_mtl.cli.evaluate import evaluate
from recsys_mtl.cli.export import export
from recsys_mtl.cli.leaderboard import leaderboard
from recsys_mtl.cli.predict import predict
from recsys_mtl.cli.promote import promote
from recsys_mtl.cli.register import register
from recsys_mtl.cli.reproduce import reproduce
from recsys_mtl.cli.rollback import rollback
from recsys_mtl.cli.schema import schema
from recsys_mtl.cli.status import INTERRUPTED, WRONG_INPUT
from recsys_mtl.cli.synthesize import synthesize
from recsys_mtl.cli.train import train
from recsys_mtl.cli.validate import validate
from recsys_mtl.errors import UserError
from recsys_mtl.version import installed_version

UsageError: Any = typer.BadParameter.__mro__[1]  # new typer bundles click: no other name
COMMANDS = (
    train,
    evaluate,
    ablate,
    reproduce,
    predict,
    export,
    validate,
    synthesize,
    describe,
    register,
    promote,
    rollback,
    compare,
    leaderboard,
    doctor,
    schema,
)
"""In the order of the help."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in COMMANDS:
    app.command()(command)


def _version(asked: bool) -> None:
    if asked:
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
    _configure_logging(verbose)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and give the process's exit code.

    Args:
        arguments: the command line; the process's own where None.
    """
    try:
        status = app(args=arguments, prog_name="recsys-mtl", standalone_mode=False)
        if status == INTERRUPTED:  # newer typer's way to tell of an interrupt, and ours
            return _fail("interrupted", status=status)
        return status if isinstance(status, int) else 0
    except UserError as error:
        return _fail(*(str(problem) for problem in error.problems))
    except UsageError as error:
        return _fail(f"{error.format_message()} (see recsys-mtl --help)")
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", status=INTERRUPTED)
    except (OSError, RuntimeError) as error:  # raised again, unless the disk is behind it
        if full := next(filter(_is_disk_full, _chain(error)), None):
            return _fail(f"out of disk: {full}")
        raise


def _fail(*problems: str, status: int = WRONG_INPUT) -> int:
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
