"""`recsys-mtl validate`."""

from __future__ import annotations

from typing import Annotated

import typer

from recsys_mtl.cli.command import Command, say
from recsys_mtl.cli.garbage import uncollected
from recsys_mtl.cli.options import ConfigFile, Data, Out, Set, overrides


def validate(
    config: ConfigFile,
    chosen: Set = None,
    data: Data = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="show what each of so many needs in a training")
    ] = None,
    out: Out = None,
) -> None:
    """Check a config and the schema of its data without training."""
    from recsys_mtl.config import load_config

    loaded = load_config(config, overrides(chosen, data=data))
    # A mistake in the config is reported before torch is imported.
    with uncollected():
        from recsys_mtl.config.recipe import described
        from recsys_mtl.runs import validate as library
        from recsys_mtl.runs.profile_page import profile_page, sizes_lines

    command = Command("validate", out)
    result = library.validate(loaded, processes=processes)
    command.write(result)
    rows = ", ".join(f"{name} {count:,}" for name, count in result["rows"].items())
    say(f"{config}: valid; rows: {rows}")
    say(f"network: {result['parameters']:,} parameters, {result['table_rows']:,} table rows")
    for line in sizes_lines(result["sizes"]) if "sizes" in result else ():
        say(line)
    per_epoch, most = result["steps_per_epoch"], result["most_steps"]
    say(f"training: {per_epoch:,} steps an epoch, {most:,} at most")
    recipe, decided = result["recipe"]["name"], result["recipe"]["decided"]
    if decided:
        say(f"recipe {recipe} decides {described(decided)}")
    profile_page(result).show()
    for warning in result["warnings"]:
        say(f"warning: {warning}")
