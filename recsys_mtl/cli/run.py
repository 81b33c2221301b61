"""Runs a Typer app: its exit code, its mistakes in one line each, its log lines."""

from __future__ import annotations

import errno
import io
import logging
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

import typer

from recsys_mtl.cli.garbage import exit_at_once, exit_uncollected
from recsys_mtl.cli.status import INTERRUPTED, LOST, TERMINATED, WRONG_INPUT
from recsys_mtl.errors import UserError
from recsys_mtl.interrupt import Terminated
from recsys_mtl.processes import LostError, ReportedError, launched, silent
from recsys_mtl.text import is_utf8, one_line

UsageError: Any = typer.BadParameter.__mro__[1]  # new typer bundles click: no other name
SETTINGS: dict[str, Any] = {
    "add_completion": False,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
"""Of every app."""

_LESS = (
    "lower training.batch_size, data.shuffle_buffer or data.memory_limit_mb (predict: --batch-rows)"
)
_OF_SPACE = (OSError, RuntimeError, MemoryError)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run_app(
    app: typer.Typer, arguments: Sequence[str] | None = None, name: str | None = None
) -> int:
    """Run an app and give the process's exit code.

    0 done; 1 a bug, with its traceback; 2 the user's input or the disk, each problem in one line
    that starts with `error: `; 130 interrupted; 143 terminated; else what the app's function
    returns.

    Args:
        app: its functions return exit codes.
        arguments: the command line; the process's own where None.
        name: of the program; else as it was started.
    """
    exit_uncollected()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a character that it lacks is no traceback
        sys.stdout.reconfigure(errors="backslashreplace")
    for word in sys.argv[1:] if arguments is None else arguments:
        if not is_utf8(word):
            return _fail(f"not UTF-8; found {word} -> rename the file or folder")
    work = partial(_command(app), args=arguments, prog_name=name, standalone_mode=False)
    return exit_code(work, name)


@lru_cache(maxsize=4)
def _command(app: typer.Typer) -> Callable[..., Any]:
    """The app with its options read from the functions' signatures, once a process."""
    return typer.main.get_command(app)


def exit_code(work: Callable[[], Any], name: str | None = None) -> int:
    """Do work that may fail and give the process's exit code, see `run_app`."""
    ends = exit_at_once() if launched() and "RANK" in os.environ else None
    code = _exit_code(work, name)
    if ends is not None:
        ends(code)
    return code


def _exit_code(work: Callable[[], Any], name: str | None) -> int:
    """The code, when the problems are reported.

    Of several processes of a training the first one reports, and others what it cannot know.
    """
    try:
        status = work()
        if status == INTERRUPTED:  # how newer typer and our commands report an interrupt
            return _interrupted()
        return status if isinstance(status, int) else 0
    except ReportedError:
        return WRONG_INPUT
    except LostError as error:
        if multiprocessing.parent_process() is not None:
            return LOST
        return _fail(*(str(problem) for problem in error.problems))
    except UserError as error:
        return _fail(*(str(problem) for problem in error.problems))
    except UsageError as error:
        return _fail(f"{error.format_message()} (see {name or sys.argv[0]} --help)")
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except Terminated as error:
        return TERMINATED if silent() else _fail(str(error), status=TERMINATED)
    except Exception as error:  # raised again, unless space is the cause
        if not isinstance(error, _OF_SPACE) and type(error).__module__ != "polars.exceptions":
            raise
        if full := next(filter(_is_disk_full, _chain(error)), None):
            return _fail(f"out of disk: {full}")
        if full := next(filter(_is_memory_full, _chain(error)), None):
            return _fail(f"out of memory: {str(full) or 'no more could be allocated'} -> {_LESS}")
        raise


class Lines(logging.Formatter):
    """Log lines that no text of users can forge: lines after a message's first are indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """The line with its message."""
        first, *others = map(one_line, super().formatMessage(record).split("\n"))
        return "\n    ".join((first, *others))


def configure_logging(*, verbose: bool) -> None:
    """Our log lines on stderr; of other libraries only warnings, and those of Python if verbose.

    Of several processes of a training the first one alone logs.
    """
    if launched():
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    handler = logging.StreamHandler()
    handler.setFormatter(Lines("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("recsys_mtl").setLevel(logging.DEBUG if verbose else logging.INFO)
    if silent():
        logging.disable(logging.WARNING)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(logging.WARNING if verbose else logging.ERROR)
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "INFO" if verbose else "WARNING")


def _interrupted() -> int:
    others_report = silent() or multiprocessing.parent_process() is not None
    return INTERRUPTED if others_report else _fail("interrupted", status=INTERRUPTED)


def _fail(*problems: str, status: int = WRONG_INPUT) -> int:
    for problem in problems:
        print("error:", one_line(" ".join(problem.split())), file=sys.stderr)
    return status


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_disk_full(error: BaseException) -> bool:
    """By number, or by text where a library in another language lost the number."""
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return True
    texts = (*(os.strerror(code) for code in _DISK_FULL), "database or disk is full")
    return any(text in str(error) for text in texts)


def _is_memory_full(error: BaseException) -> bool:
    """Python's and numpy's by type, torch's by text."""
    if isinstance(error, MemoryError):
        return True
    texts = ("can't allocate memory", "out of memory", "Storage size calculation overflowed")
    return isinstance(error, RuntimeError) and any(text in str(error) for text in texts)
