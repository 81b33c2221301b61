"""`recsys-mtl init`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from recsys_mtl.cli.command import say
from recsys_mtl.cli.garbage import uncollected
from recsys_mtl.cli.options import Data
from recsys_mtl.errors import wrong

if TYPE_CHECKING:
    from recsys_mtl.draft import Draft
    from recsys_mtl.storage.location import Location


def init(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="Parquet or CSV: a file, folder, glob or URI")
    ],
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="COLUMN", help="what to predict; once a task"),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="split by it: all rows of a customer in one split"),
    ] = None,
    data: Data = None,
    csv: Annotated[
        list[str] | None,
        typer.Option("--csv", metavar="K=V", help="how a CSV is written: encoding=cp1252"),
    ] = None,
    out: Annotated[str, typer.Option(metavar="FILE", help="- prints it")] = "train.yaml",
    force: Annotated[bool, typer.Option("--force", help="replace FILE if it exists")] = False,
) -> None:
    """Draft a run's YAML from a table: features, tasks, split, and why."""
    with uncollected():
        from recsys_mtl.data.opening import table_root
        from recsys_mtl.draft import draft
        from recsys_mtl.storage.location import located

    file = None if out == "-" else located(out)
    root, path = table_root(table, data)
    if file is not None:
        _require_free(file, located(path, root), force=force)
    drafted = draft(path, label or (), root=root, group=group, csv=csv or ())
    if file is None:
        print(drafted.text, end="")
        return
    _write(file, drafted)
    at = f" --data {data}" if data else ""
    say(
        f"{out}: features {drafted.features}, tasks {drafted.tasks}, ignored columns "
        f"{len(drafted.ignored)}, split by {drafted.split}; drafted from {drafted.read}"
    )
    say(f"  recsys-mtl validate {out}{at}")
    say(f"  recsys-mtl train {out}{at} --baselines")


def _require_free(file: Location, table: Location, *, force: bool) -> None:
    """Raise a `UserError` where a file would be lost."""
    from recsys_mtl.storage.location import same

    if not file.exists():
        return
    if file.is_dir():
        raise wrong("a folder", where=f"--out {file}", expected="a file to write")
    if same(table, file):
        raise wrong("this is the table itself", where=f"--out {file}", fix="name another file")
    if not force:
        fix = "name another file with --out, or replace it with --force"
        raise wrong("the file exists", where=str(file), fix=fix)


def _write(file: Location, drafted: Draft) -> None:
    from recsys_mtl.files import atomic_write

    try:
        atomic_write(file, drafted.text)
    except OSError as error:
        reason = error.strerror or str(error)
        raise wrong("cannot write the file", where=f"--out {file}", found=reason) from error
