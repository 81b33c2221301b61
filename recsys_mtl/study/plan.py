"""What plans of studies share: seeds, and the note in a folder of the plan it was begun for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field

from recsys_mtl.config import read_text, section_from_yaml, yaml_text
from recsys_mtl.config.section import Name, Section
from recsys_mtl.errors import wrong
from recsys_mtl.files import TEMPORARY, atomic_write
from recsys_mtl.folder_lock import HOLDER, LOCK

P = TypeVar("P", bound=Section)
ROWS = "rows.sha256"
"""File in a study's folder: the fingerprint of the rows that it was begun for."""


class SeedsConfig(Section):
    """The seed draws from the data, and in an ablation everything else too."""

    first: Annotated[int, Field(ge=0, lt=2**30)] = Field(0, description="the first one")
    count: Annotated[int, Field(gt=0, le=10_000)] = Field(
        3, description="how many, one after the other"
    )

    @property
    def values(self) -> range:
        """All of them."""
        return range(self.first, self.first + self.count)


class Arms(Section):
    """Arms of a YAML file: name -> config path -> value."""

    arms: dict[Name, dict[str, Any]]


def load_arms(path: Path) -> dict[str, dict[str, Any]]:
    """Read a file of arms.

    Raises:
        UserError: lists all problems.
    """
    return section_from_yaml(Arms, read_text(path), where=str(path), check=lambda _: ()).arms


def held_plan(
    plan: P, note: Path, *, same: str, differences: Callable[[P], Sequence[str]]
) -> P | None:
    """The plan that a study's folder was begun for; None for a new or empty folder.

    Args:
        plan: what the folder is wanted for.
        note: the file in it that holds the plan, named after the kind of study.
        same: what has to be the same, for messages.
        differences: between the plan that the folder holds and this one.

    Raises:
        UserError: it holds another study, other files, or a note that was written by hand, which
            would be replaced.
    """
    out, kind = note.parent, note.stem
    if note.exists():
        text = read_text(note)
        held = section_from_yaml(type(plan), text, where=str(note), check=lambda _: ())
        if differs := differences(held):
            raise wrong(
                f"the folder holds another {kind}", where=str(out), expected=same,
                found=f"another {', '.join(differs)}",
                fix="give another --out, or delete the folder",
            )  # fmt: skip
        if text != yaml_text.dump(yaml_text.parse(text, str(note)).data):
            raise wrong(
                f"no study wrote the {note.name} of the output folder", where=str(note),
                expected=f"a new or empty folder, or one that the same {kind} has begun",
                fix="give another --out",
            )  # fmt: skip
        return held
    begun = (note.name, LOCK, HOLDER)  # left by a call that was killed before it wrote the note
    names = [path.name for path in out.iterdir()] if out.is_dir() else []
    if others := [name for name in names if name.partition(TEMPORARY)[0] not in begun]:
        raise wrong(
            "the folder holds other files", where=str(out),
            expected=f"a new or empty folder, or one that the same {kind} has begun",
            found=min(others), fix="give another --out",
        )  # fmt: skip
    return None


def other_rows(out: Path, fingerprint: str) -> list[str]:
    """What a study's folder was begun for that these rows are not, for `differences`."""
    note = out / ROWS
    same = not note.exists() or read_text(note).strip() == fingerprint
    return [] if same else ["content of the rows"]


def note_rows(out: Path, fingerprint: str) -> None:
    """Note the rows that a folder was begun for."""
    if not (out / ROWS).exists():
        atomic_write(out / ROWS, fingerprint + "\n")


def changed_keys(held: Section, plan: Section, keys: Sequence[str]) -> list[str]:
    """Those of `keys` whose values differ."""
    return [key for key in keys if getattr(held, key) != getattr(plan, key)]
