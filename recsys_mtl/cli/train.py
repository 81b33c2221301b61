"""`recsys-mtl train`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from recsys_mtl.cli.command import say
from recsys_mtl.cli.garbage import uncollected
from recsys_mtl.cli.options import ConfigFile, Data, Out, Seed, Set, overrides
from recsys_mtl.cli.status import DONE, INTERRUPTED
from recsys_mtl.cli.together import train_together
from recsys_mtl.errors import wrong
from recsys_mtl.processes import reported_once, silent


def train(
    config: ConfigFile,
    boosting: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="BOOSTING", help="with --baselines: lightgbm, tuned, gradient_boosting"
        ),
    ] = None,
    chosen: Set = None,
    data: Data = None,
    out: Out = None,
    baselines: Annotated[bool, typer.Option(help="train the baselines as well")] = False,
    seed: Seed = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="MODEL", help="start from its weights: models:/NAME@ALIAS"),
    ] = None,
    resume: Annotated[
        str,
        typer.Option(metavar="auto|never|STEP", help="from a checkpoint that a killed run left"),
    ] = "auto",
    processes: Annotated[
        int, typer.Option(min=1, metavar="N", help="of this machine that train together")
    ] = 1,
) -> int:
    """Train a model, evaluate it, and log and store the run (in runs/NAME without --out)."""
    from recsys_mtl.config import load_config
    from recsys_mtl.config.check_processes import require_shareable

    if boosting and not baselines:
        raise wrong(
            "unexpected extra argument",
            found=" ".join(boosting),
            fix=f"only boosting may follow CONFIG: --baselines {' '.join(boosting)}",
        )
    if resume not in ("auto", "never") and not (resume.isascii() and resume.isdecimal()):
        expected = "auto, never, or the step of a checkpoint"
        raise wrong("unknown word", where="--resume", expected=expected, found=resume)
    words = overrides(chosen, data=data, seed=seed)
    if source is not None:
        words.append(f"training.warm_start.model={json.dumps(source)}")
    with reported_once():
        loaded = load_config(config, words)
    if processes > 1:
        require_shareable(loaded, processes, baselines=baselines)
        again = partial(train, config, None, chosen, data, out, False, seed, source, resume)
        return train_together(again, processes)
    # A mistake in the config is reported before torch is imported.
    with uncollected():
        from recsys_mtl.reports.results import ResultTable
        from recsys_mtl.runs import train as library
        from recsys_mtl.runs.resume import Resume

    folder = out or Path("runs") / loaded.name
    result = library.train(
        loaded,
        folder,
        baselines=boosting or baselines,
        show=ResultTable.show,
        resume=cast(Resume, int(resume) if resume.isdecimal() else resume),
    )
    if not silent() and "mlflow" in result:
        _say_where(folder, result["name"], result["mlflow"])
    return INTERRUPTED if result["interrupted"] and not silent() else DONE


def _say_where(folder: Path, name: str, tracked: dict[str, Any]) -> None:
    """Three lines: where the run is, its page, and what to do next."""
    from recsys_mtl.tracking.uri import page_of

    say(f"stored:  {folder} (model/, report.html, config.yaml, result.json)")
    if tracked["run_id"] is None:
        say("tracked: nowhere, as tracking.enabled is false")
    else:
        ids = tracked["experiment_id"], tracked["run_id"]
        page, command = page_of(tracked["tracking_uri"], *ids) or (tracked["tracking_uri"], None)
        say(f"tracked: {page}" + (f" after `{command}`" if command else ""))
    say(
        f"next:    recsys-mtl evaluate {folder} --input ROWS, "
        f"recsys-mtl predict {folder} --input ROWS --output FILE, "
        f"recsys-mtl register {folder} --name {name}"
    )
