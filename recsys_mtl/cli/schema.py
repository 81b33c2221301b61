"""`recsys-mtl schema`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from recsys_mtl.cli.command import Command
from recsys_mtl.cli.options import Out

if TYPE_CHECKING:
    from recsys_mtl.config.section import Section


def schema(
    out: Out = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="print tables for people")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="of synthesize's plan, not a run's")] = False,
) -> None:
    """Print the JSON Schema of a run's config or of a plan, or tables of its keys."""
    from recsys_mtl.cli.schema_tables import tables
    from recsys_mtl.files import atomic_write

    command = Command("schema", out, ("schema.json",))
    root = _root(plan=plan)
    text = json.dumps(root.model_json_schema(), indent=2, ensure_ascii=False)
    if out is not None:
        command.write({"schema": atomic_write(out / "schema.json", text + "\n")})
    print(tables(root) if markdown else text)


def _root(*, plan: bool) -> type[Section]:
    if plan:
        from data_synth import Plan  # slow to import, and the config's schema does without

        return Plan
    from recsys_mtl.config.schema import Config

    return Config
