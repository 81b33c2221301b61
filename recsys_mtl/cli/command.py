"""What every command does around its library call: time, output folder, result.json."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys_mtl.reports.output import envelope, prepare_location, prepare_out, write_result
from recsys_mtl.text import one_line

if TYPE_CHECKING:
    from recsys_mtl.reports.page import Page
    from recsys_mtl.storage.location import Location


def show_page(page: Page, files: Sequence[Location]) -> None:
    """Print a page and where it was written."""
    page.show()
    print()
    for path in files:
        say(path)


def say(line: object) -> None:
    """Print a line; whatever text of users is in it, it stays one line."""
    print(one_line(str(line)))


def run_each(
    run: Callable[[Sequence[str]], object], commands: Sequence[str], **values: object
) -> int:
    """Run commands in order, printing each; one that does not return 0 ends it with its code.

    Args:
        run: takes a command's words.
        commands: without the program's name, with `{names}` for values; words as in a shell.
        values: by name.
    """
    for command in commands:
        words = command.format(**values)
        print(f"recsys-mtl {words}", flush=True)
        if status := run(shlex.split(words)):
            assert isinstance(status, int)
            return status
    return 0


class Command:
    """A running command.

    Args:
        name: of the command.
        out: its output folder, tried first so a wrong one costs no work; None writes nothing.
        files: names of what it writes there, in addition to result.json.

    Raises:
        UserError: `out` cannot be written to, or holds what no earlier call wrote.
    """

    def __init__(self, name: str, out: Location | None = None, files: Sequence[str] = ()) -> None:
        self.name = name
        self._started = datetime.now(UTC)
        self._out = out
        if isinstance(out, Path):
            self._out = prepare_out(out, name, files)
        elif out is not None:
            prepare_location(out, name, files)

    def write(
        self, numbers: Mapping[str, Any], page: Page | None = None, *, file: str = ""
    ) -> dict[str, Any]:
        """Write result.json and the page, where there is an output folder.

        Args:
            numbers: what result.json holds in addition to its envelope.
            page: as HTML and Markdown.
            file: the page's name; else the command's.

        Returns:
            What result.json holds.
        """
        result = envelope(self.name, started=self._started) | dict(numbers)
        if self._out is not None:
            if page is not None:
                page.write(self._out, file or self.name, markdown=True)
            write_result(self._out, result)
        return result
