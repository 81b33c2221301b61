"""`recsys-mtl configs`."""

from __future__ import annotations

import re
import shutil
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import typer

from recsys_mtl.cli.command import say
from recsys_mtl.errors import wrong
from recsys_mtl.files import atomic_file


def configs(
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="new folder to copy them to (`configs`, as their commands have it); else a list",
        ),
    ] = None,
) -> None:
    """List the ready configs, or copy them to a folder."""
    folder = ready_configs()
    files = sorted(folder.rglob("*.yaml"))
    if out is None:
        for file in files:
            say(f"{file.relative_to(folder)}: {_first_comment(file)}")
        return
    if out.exists() or out.is_symlink():
        raise wrong("this is there already", where=f"--out {out}", fix="name a new folder")
    try:
        with atomic_file(out) as temporary:
            shutil.copytree(folder, temporary, copy_function=shutil.copyfile)
    except (OSError, shutil.Error) as error:
        raise wrong("cannot write", where=f"--out {out}", found=str(error)) from error
    say(f"{out}: {len(files)} configs; the head of each has its command, from the folder above")


def ready_configs() -> Path:
    """The folder of the ready configs: in the installed package, or next to it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def _first_comment(file: Path) -> str:
    """The first sentence of a file's head."""
    lines = file.read_text(encoding="utf-8").splitlines()
    head = takewhile(lambda line: line.startswith("# "), lines)
    text = " ".join(line.removeprefix("# ") for line in head)
    return re.split(r"(?<! al)\. ", text)[0].rstrip(".:")
