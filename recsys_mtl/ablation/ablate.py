"""`recsys-mtl ablate`: arms by seeds from one YAML, and what their differences say.

What is left in the output folder:

    ablation.yaml               what the folder is for: base, arms and seeds
    base.yaml, plan.yaml        what the base config and the plan of the rows came to, with seed 0
    units/ARM/seed-N.json       one result a run; a killed job goes on behind them
    report.md, report.html      the page, with differences.png and affinity.png
    result.json                 every number of the page
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys_mtl.ablation.plan import Ablation, check_arms, claim, load_ablation
from recsys_mtl.ablation.report import make_page
from recsys_mtl.ablation.summary import Summary, summarize
from recsys_mtl.ablation.unit import Unit, run_seed, unit_path
from recsys_mtl.config.flat import flat
from recsys_mtl.errors import UserError, wrong
from recsys_mtl.processes import as_they_come
from recsys_mtl.progress import progress
from recsys_mtl.reports.output import envelope, prepare_out, write_result
from recsys_mtl.tracking.open import open_run
from recsys_mtl.tracking.run import Run

log = logging.getLogger(__name__)


def run(
    config: Path,
    *,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    processes: int | None = None,
) -> dict[str, Any]:
    """Run an ablation from its file; see `ablate`."""
    ablation = load_ablation(config, overrides)
    return ablate(ablation, out or Path("ablations") / ablation.name, processes=processes)


def ablate(ablation: Ablation, out: str | Path, *, processes: int | None = None) -> dict[str, Any]:
    """Train what is missing, compare, print and store the report, track every run.

    Args:
        ablation: arms and seeds.
        out: a new folder, or one that the same ablation has begun; seeds and arms may be added.
        processes: seeds that are trained at the same time; None takes one a core.

    Returns:
        What result.json holds.

    Raises:
        UserError: an arm or the base config is wrong, or `out` holds another ablation.
        KeyboardInterrupt: Ctrl-C; the same call goes on behind the runs that are finished.
    """
    started = datetime.now(UTC)
    check_arms(ablation)
    out = prepare_out(out)
    claim(ablation, out)
    track = ablation.tracking
    with open_run(
        track.enabled, track.uri, track.experiment, ablation.name, {"job": "ablate"}, spool=out
    ) as parent:
        parent.params(flat(ablation.model_dump(exclude={"tracking"})))
        total = len(ablation.names) * ablation.seeds.count
        try:
            with progress(f"ablate {ablation.name}", total, unit="runs") as advance:
                for unit in _units(ablation, out, processes):
                    _track(ablation, parent, unit)
                    advance(1, f"{unit['arm']}, seed {unit['seed']}")
        except KeyboardInterrupt:
            log.warning("the same command goes on behind the runs that are finished")
            raise
        units = list(_stored(ablation, out))
        summary = summarize(units, ablation.names, alpha=ablation.alpha)
        page = make_page(ablation.name, summary)
        page.show()
        written = page.write(out, "report", markdown=True)
        result = envelope("ablate", started=started) | {
            "name": ablation.name,
            "summary": summary.to_json(),
            "report": out / "report.md",
        }
        for path in [*written, write_result(out, result)]:
            parent.artifact(path)
        parent.metrics(_numbers(summary), 0)
        print("\n" + "\n".join(str(path) for path in written))
    return result


def _units(ablation: Ablation, out: Path, processes: int | None) -> Iterator[Unit]:
    """Every unit's result: the stored ones first, then the new ones as they come."""
    yield from _stored(ablation, out)
    seeds = [s for s in ablation.seeds.values if _missing(ablation, s, out)]
    if not seeds:
        return
    workers = min(processes or os.cpu_count() or 1, len(seeds))
    if workers == 1:
        for seed in seeds:
            yield from run_seed(ablation, seed, out, threads=None)
        return
    jobs = [(ablation, seed, out) for seed in seeds]
    for units in as_they_come(_work, jobs, workers=workers):
        yield from units


def _work(ablation: Ablation, seed: int, out: Path, *, threads: int) -> list[Unit]:
    return list(run_seed(ablation, seed, out, threads=threads))


def _missing(ablation: Ablation, seed: int, out: Path) -> bool:
    return any(not unit_path(out, name, seed).exists() for name in ablation.names)


def _stored(ablation: Ablation, out: Path) -> Iterator[Unit]:
    for seed in ablation.seeds.values:
        for name in ablation.names:
            if (path := unit_path(out, name, seed)).exists():
                yield _read(path, name, seed)


def _read(path: Path, arm: str, seed: int) -> Unit:
    try:
        unit: Unit = json.loads(path.read_text())
        if (unit["arm"], unit["seed"]) == (arm, seed):
            return unit
        found = f"arm {unit['arm']}, seed {unit['seed']}"
    except (ValueError, KeyError, TypeError) as error:
        found = repr(error)
    raise wrong(
        "not the result of that run", where=str(path), expected=f"arm {arm}, seed {seed}",
        found=found, fix="delete it, and run the same command again",
    )  # fmt: skip


def _track(ablation: Ablation, parent: Run, unit: Unit) -> None:
    """A nested run for a unit."""
    if parent.id is None:
        return
    track = ablation.tracking
    name = f"{unit['arm']}, seed {unit['seed']}"
    tags = {"mlflow.parentRunId": parent.id, "arm": unit["arm"], "config_hash": unit["config_hash"]}
    values = {f"score/{task}": value for task, value in unit["scores"].items()}
    values |= {f"true_score/{task}": value for task, value in unit["true_scores"].items()}
    values |= {key: unit[key] for key in ("train_seconds", "peak_memory_mb", "epochs")}
    try:
        with open_run(track.enabled, track.uri, track.experiment, name, tags) as nested:
            nested.params({"arm": unit["arm"], "seed": unit["seed"]})
            nested.metrics(values, 0)
    except UserError as error:  # tracking cannot end an ablation: its files have everything
        log.warning("%s is not tracked: %s", name, error)


def _numbers(summary: Summary) -> dict[str, float | None]:
    """What MLflow shows of the parent."""
    values: dict[str, float | None] = {}
    for name, arm in summary.arms.items():
        values |= {f"{name}/score/{task}": score for task, score in arm.scores.items()}
        if arm.overall is not None:
            for key in ("mean", "low", "high", "p"):
                values[f"{name}/difference/{key}"] = getattr(arm.overall, key)
    return values
