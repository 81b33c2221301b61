"""The one exception for a user's mistake: it becomes one clear line and exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Problem:
    """One mistake in the user's input.

    Attributes:
        what: what is wrong, in a few words ("missing column").
        where: file and path inside it ("configs/a.yaml: tasks.ctr.label").
        expected: what would have been right.
        found: what was there instead.
        fix: how to correct it.
    """

    what: str
    where: str = ""
    expected: str = ""
    found: str = ""
    fix: str = ""

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.what}" if self.where else self.what]
        parts += [
            f"{name} {text}"
            for name, text in (("expected", self.expected), ("found", self.found))
            if text
        ]
        line = "; ".join(parts) + (f" -> {self.fix}" if self.fix else "")
        return " ".join(line.split())


class UserError(ValueError):
    """Wrong input, reported as one line a problem; commands end with exit code 2.

    Attributes:
        problems: all problems, in the order of the file.
    """

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


def wrong(
    what: str, *, where: str = "", expected: str = "", found: object = "", fix: str = ""
) -> UserError:
    """A `UserError` of one problem, ready to be raised."""
    return UserError(Problem(what, where, expected, str(found), fix))


@contextmanager
def relocated(change: Callable[[str], str]) -> Iterator[None]:
    """Problems inside are somewhere else: `change` gives the new `where` from their own."""
    try:
        yield
    except UserError as error:
        problems = [replace(p, where=change(p.where)) for p in error.problems]
        raise UserError(*problems) from error


def prefixed(owner: str) -> AbstractContextManager[None]:
    """Problems inside are those of `owner`, which is put in front of their `where`."""
    return relocated(lambda where: f"{owner}: {where}".rstrip(": "))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` with the nearest of `known`, or the known names where none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"use one of: {shown}" if names else ""
