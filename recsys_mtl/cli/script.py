"""For scripts on top of the library: a function as a program, and steps that are resumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from recsys_mtl.cli.command import run_each
from recsys_mtl.cli.main import main
from recsys_mtl.cli.run import SETTINGS, configure_logging, run_app
from recsys_mtl.errors import wrong
from recsys_mtl.files import atomic_write
from recsys_mtl.reports.output import plain, prepare_out


def run_script(function: Callable[..., int | None], arguments: Sequence[str] | None = None) -> int:
    """Run a function with the options of its signature; see `run_app` for the exit code.

    Args:
        function: annotated as for typer; its docstring is the help. It returns the exit code.
        arguments: the command line; the process's own where None.
    """
    app = typer.Typer(**SETTINGS)
    app.command()(function)
    configure_logging(verbose=False)
    return run_app(app, arguments)


def run_commands(commands: Sequence[str], **values: object) -> int:
    """Run commands of `recsys-mtl` in order, printing each; one that fails ends it.

    Args:
        commands: without the program's name, with `{names}` for values; words as in a shell.
        values: by name.

    Returns:
        The exit code of the last one that ran.
    """
    return run_each(main, commands, **values)


class Steps:
    """The steps of a job that may be killed: each is done once, however often the job is called.

    A step's result is stored in the folder's steps.json when it ends.

    Args:
        folder: of the job, made where it is new.
        of: what the job is asked, JSON values by name.

    Raises:
        UserError: the folder holds steps of a job that was asked something else.
    """

    def __init__(self, folder: Path, of: Mapping[str, Any]) -> None:
        self._file = prepare_out(folder) / "steps.json"
        self._done: dict[str, Any] = (
            json.loads(self._file.read_text()) if self._file.exists() else {}
        )
        asked = self._done.setdefault("asked", plain(of))
        if other := [name for name, value in plain(of).items() if asked.get(name) != value]:
            raise wrong(
                "the folder holds the steps of another job", where=str(folder),
                expected="the same " + ", ".join(of), found=f"another {', '.join(other)}",
                fix="name another folder",
            )  # fmt: skip

    def do(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The step's result, of this or an earlier call; prints its `line`."""
        if name not in self._done:
            self._done[name] = plain(work())
            atomic_write(self._file, json.dumps(self._done, indent=2) + "\n")
        print(f"{name}: {self._done[name]['line']}", flush=True)
        result: dict[str, Any] = self._done[name]
        return result
