"""The package's defaults on generated rows: how much of what is reachable do they reach?

    python pipelines/planted.py --out OUT                                # every preset: hours
    python pipelines/planted.py --out OUT --presets demo,scarce --seeds 2 --rows 10000

A seed is other rows of a preset, another split and other initial weights; all arms see the same.
The arm `defaults` is the `train.yaml` that `synthesize` writes next to the rows, which leaves the
network and its training to the recipe; the others are changes of it, in a YAML file as
`configs/tables/arms` has. All are compared with the first one of the file. A task's score is its
share of the way from a constant to the oracle, in the main metric of its kind against the true
probabilities and means, so that the noise of labels is not in it. The same command resumes after
the finished trainings; what has other settings than before is trained anew.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from math import isnan
from pathlib import Path
from typing import Annotated, Any

import typer

from data_synth import load_plan, presets
from data_synth.train_config import train_config
from data_synth.write import synthesize
from recsys_mtl.ablation.arms import reported_as
from recsys_mtl.ablation.plan import as_overrides
from recsys_mtl.ablation.seed import seed_data
from recsys_mtl.ablation.unit import GENERATED, train_arm
from recsys_mtl.cli.command import show_page
from recsys_mtl.cli.script import run_script
from recsys_mtl.config import config_from_yaml, config_hash
from recsys_mtl.config.recipe import recipes
from recsys_mtl.config.schema import TrackingConfig
from recsys_mtl.data.prepare import prepare
from recsys_mtl.errors import did_you_mean, wrong
from recsys_mtl.files import remove_at_once
from recsys_mtl.reports.output import prepare_out
from recsys_mtl.study.against import LOG_LOSS, make_page, summarize
from recsys_mtl.study.plan import load_arms
from recsys_mtl.study.run import Outcome, Study, run_study
from recsys_mtl.study.unit import Unit, UnitResult
from recsys_mtl.tasks import kind_of

JOB = "planted"
ARMS = Path(__file__).parents[1] / "configs" / "tables" / "arms" / "planted.yaml"
DEFAULTS = "defaults"
SHARE = "share"


@dataclass(frozen=True)
class PlantedUnit(Unit):
    """An arm on the rows of a preset with a seed; `settings` is a hash of what it depends on."""

    arm: str
    table: str
    seed: int
    rows: int
    settings: str
    changes: Sequence[str]

    @property
    def identity(self) -> Mapping[str, str | int]:
        """What it is called, its rows and its settings."""
        names: dict[str, str | int] = {"arm": self.arm, "table": self.table, "seed": self.seed}
        return {**names, "rows": self.rows, "settings": self.settings}


def planted(
    out: Annotated[Path, typer.Option(help="folder of the report")] = Path(JOB),
    chosen: Annotated[str | None, typer.Option("--presets", help="A,B; else all")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="how many")] = 5,
    first: Annotated[int, typer.Option(min=0, help="the first seed")] = 0,
    rows: Annotated[int, typer.Option(min=1000, help="of each seed")] = 30_000,
    arms_from: Annotated[
        Path, typer.Option(help="YAML of the other arms: `arms: {NAME: {K: V}}`")
    ] = ARMS,
    processes: Annotated[int, typer.Option(min=1, help="trainings at a time")] = 1,
) -> None:
    """Train the generated config and changes of it on paired seeds; compare shares."""
    started = datetime.now(UTC)
    names = chosen.split(",") if chosen else list(presets())
    for name in names:
        if name not in presets():
            fix = did_you_mean(name, presets())
            raise wrong("no such preset", where="--presets", found=name, fix=fix)
    arms = {arm: as_overrides(change) for arm, change in load_arms(arms_from).items()}
    arms[DEFAULTS] = []
    units = [
        PlantedUnit(arm, name, seed, rows, _settings(name, changes, f"{arms_from}: {arm}"), changes)
        for name in names
        for seed in range(first, first + seeds)
        for arm, changes in arms.items()
    ]
    study = Study(
        job=JOB,
        name=JOB,
        tracking=TrackingConfig(enabled=False),
        params={},
        units=units,
        batches=_by_rows,
        trainer=unit_trainer,
        report=partial(_report, out),
    )
    folder = prepare_out(out, JOB, ("report.md", "report.html"))
    run_study(study, folder, started=started, processes=processes, show=show_page)


def _settings(preset: str, changes: Sequence[str], where: str) -> str:
    """Equal for equal trainings but for the seed; a recipe changes what a config leaves open."""
    with reported_as(where):
        config = config_from_yaml(
            train_config(load_plan(preset)), where="config", overrides=changes
        )
    recipe = {} if config.training.recipe == "none" else recipes(len(config.tasks))
    text = json.dumps([config_hash(config), config.model_dump(exclude_unset=True), recipe])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _by_rows(missing: Sequence[PlantedUnit]) -> list[list[PlantedUnit]]:
    """Units of the same rows; all presets have their first seed before one has its second."""
    batches: dict[tuple[int, str], list[PlantedUnit]] = {}
    for unit in sorted(missing, key=lambda unit: unit.seed):
        batches.setdefault((unit.seed, unit.table), []).append(unit)
    return list(batches.values())


@contextmanager
def unit_trainer(
    batch: Sequence[PlantedUnit], out: Path, *, threads: int | None
) -> Iterator[Callable[[PlantedUnit], dict[str, Any]]]:
    """Generates the rows of a batch, trains its units on them and deletes them."""
    del threads  # the config has them
    first = batch[0]
    plan = load_plan(first.table, [f"seed={first.seed}"])
    folder = out / GENERATED / f"{first.table}-{first.seed}"
    synthesize(plan, folder, rows=first.rows, processes=1)

    def train_unit(unit: PlantedUnit) -> dict[str, Any]:
        overrides = [f"data.root={json.dumps(str(folder))}", *unit.changes]
        begun = time.process_time()
        data = seed_data(
            prepare(config_from_yaml(train_config(plan), where="config", overrides=overrides))
        )
        numbers = train_arm(data.config, data, alone=False)
        return {
            "metrics": {task: _metrics(numbers, task) for task in numbers["kinds"]},
            "seconds": time.process_time() - begun,
            "recipe": data.config.training.recipe,
            **{key: numbers[key] for key in ("kinds", "epochs", "best_epoch", "labelled")},
        }

    yield train_unit
    remove_at_once(folder)


def _metrics(numbers: Mapping[str, Any], task: str) -> dict[str, Any]:
    """The share, 0 without a score, and the log loss of the labels where the kind has one."""
    (low, high), score = numbers["reachable"][task], numbers["true_scores"][task]
    metrics = {SHARE: {"value": 0.0 if isnan(score) else (score - low) / (high - low)}}
    if any(spec.is_of(LOG_LOSS) for spec in kind_of(numbers["kinds"][task]).section.metrics):
        metrics[LOG_LOSS] = {"value": numbers["losses"][task]}
    return metrics


def _report(out: Path, results: Sequence[UnitResult]) -> Outcome:
    remove_at_once(out / GENERATED)
    first = results[0]["arm"]
    summary = summarize(results, reference=first, rivals=[], metric=SHARE)
    return Outcome(summary, {}, make_page("Shares of the reachable", summary))


if __name__ == "__main__":
    sys.exit(run_script(planted))
