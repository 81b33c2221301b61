"""The network's defaults against gradient boosting, on your copies of four public tables.

    python pipelines/against_boosting.py --data FOLDER --out OUT            # all: many hours
    python pipelines/against_boosting.py --data FOLDER --out OUT --tables bank --seeds 1
    python pipelines/against_boosting.py --data FOLDER --out OUT --arm slow=training.epochs=60

A table is a config in `configs/tables`, with its features and tasks and nothing else, so that the
package's defaults are measured. A seed is another random split and other initial weights; all arms
see the same split. The report has, by task, the points that each arm is ahead of the better
boosting (that of the best mean over seeds), with the interval over the paired seeds; then means,
differences to the first network, and costs. The same command resumes after the finished trainings;
what has other settings than before, or other rows, is trained anew.

In an arm, `features.*.KEY` is a key of every feature that has it, and `alone` means a network for
each task. `configs/tables/arms` has the ablation of the recipe and the curve of members.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from recsys_mtl.ablation.arms import reported_as
from recsys_mtl.ablation.plan import as_overrides
from recsys_mtl.boosting import NAMES, require_installed
from recsys_mtl.cli.command import show_page
from recsys_mtl.cli.options import overrides
from recsys_mtl.cli.script import run_script
from recsys_mtl.config import Config, load_config
from recsys_mtl.config.recipe import recipes
from recsys_mtl.config.schema import TrackingConfig
from recsys_mtl.config.section import NAME_PATTERN
from recsys_mtl.data.batch import concat
from recsys_mtl.data.opening import open_splits
from recsys_mtl.data.prepare import Prepared, prepare
from recsys_mtl.errors import did_you_mean, relocated, wrong
from recsys_mtl.metrics import Metrics, to_json
from recsys_mtl.reports.output import prepare_out
from recsys_mtl.runs.compare_baselines import HeldRows, boost_run, judged
from recsys_mtl.runs.one_task import one_task
from recsys_mtl.runs.parent import load_parent
from recsys_mtl.serving.predictor import Predictor
from recsys_mtl.study.against import make_page, summarize
from recsys_mtl.study.plan import load_arms
from recsys_mtl.study.run import Outcome, Study, run_study
from recsys_mtl.study.unit import Unit, UnitResult
from recsys_mtl.tasks import KINDS
from recsys_mtl.wiring.trainer import fit_and_test

JOB = "against_boosting"
CONFIGS = Path(__file__).parents[1] / "configs" / "tables"
TABLES = ("bank", "adult", "bank_churn", "hillstrom")
BOOSTING = NAMES
NETWORK, ALONE = "default", "single_task"
Measured = tuple[dict[str, Metrics], dict[str, Any]]
"""Metrics of the test rows by task, and what else is known of the training."""


@dataclass(frozen=True)
class Arm:
    """A network with `changes` of the table's config, or boosting.

    Attributes:
        changes: as `--set` takes them.
        alone: a network for each task.
        where: it was defined, for messages.
    """

    changes: Sequence[str] = ()
    alone: bool = False
    where: str = ""


READY = {NETWORK: Arm(), ALONE: Arm(alone=True), **dict.fromkeys(BOOSTING, Arm())}


@dataclass(frozen=True)
class TableUnit(Unit):
    """An arm on a table with a seed; `settings` is a hash of what all its trainings depend on."""

    arm: str
    table: str
    seed: int
    settings: str
    file: Path
    changes: Sequence[str]
    alone: bool

    @property
    def identity(self) -> Mapping[str, str | int]:
        """What it is called, and its settings."""
        names: dict[str, str | int] = {"arm": self.arm, "table": self.table, "seed": self.seed}
        return {**names, "settings": self.settings}

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.table}, {self.arm}, seed {self.seed}"


def against_boosting(
    data: Annotated[Path, typer.Option(help="folder of your copies of the tables")],
    out: Annotated[Path, typer.Option(help="folder of the report")] = Path(JOB),
    tables: Annotated[
        str, typer.Option(help="of configs/tables, or configs of your own (A.yaml)")
    ] = ",".join(TABLES),
    seeds: Annotated[int, typer.Option(min=1, help="how many, from 0")] = 5,
    arms: Annotated[
        str | None,
        typer.Option(help=f"of {', '.join(READY)} and yours; else {NETWORK}, boosting and yours"),
    ] = None,
    arm: Annotated[
        list[str] | None, typer.Option(metavar="NAME=K=V,K=V", help="an arm of your own; repeat")
    ] = None,
    arms_from: Annotated[
        Path | None, typer.Option(help="YAML of more arms: `arms: {NAME: {K: V}}`")
    ] = None,
    chosen: Annotated[list[str] | None, typer.Option("--set", help="K=V of every table")] = None,
    metric: Annotated[
        str | None, typer.Option(help="judges the tasks that have it (gauc); else the main one")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="trainings at a time")] = 1,
) -> None:
    """Compare networks with boosting on paired seeds; alone=true in an arm: a network a task."""
    started = datetime.now(UTC)
    _require_larger_better(metric)
    own = _own_arms(arm or (), arms_from)
    known = {**READY, **own}
    names = arms.split(",") if arms else [NETWORK, *BOOSTING, *own]
    for name in names:
        if name not in known:
            raise wrong("no such arm", where="--arms", found=name, fix=did_you_mean(name, known))
    with relocated(lambda _: f"--arms {','.join(names)}"):
        require_installed([name for name in names if name in BOOSTING])
    base = overrides(chosen, data=data)
    units = [
        TableUnit(name, table, seed, settings, file, changes, known[name].alone)
        for table, file in _files(tables.split(",")).items()
        for name, (settings, changes) in _settings(file, base, {n: known[n] for n in names}).items()
        for seed in range(seeds)
    ]
    study = Study(
        job=JOB,
        name=JOB,
        tracking=TrackingConfig(enabled=False),
        params={},
        units=units,
        batches=lambda missing: [[unit] for unit in sorted(missing, key=lambda u: u.seed)],
        trainer=unit_trainer,
        report=partial(_report, next((n for n in names if n not in BOOSTING), names[0]), metric),
    )
    folder = prepare_out(out, JOB, ("report.md", "report.html"))
    run_study(study, folder, started=started, processes=processes, show=show_page)


def _require_larger_better(metric: str | None) -> None:
    specs = [
        spec for kind in KINDS.values() for spec in (*kind.section.metrics, *kind.section.of_lists)
    ]
    larger = [spec for spec in specs if spec.larger_is_better]
    if metric is not None and not any(spec.is_of(metric) for spec in larger):
        known = ", ".join(dict.fromkeys(spec.name for spec in larger))
        raise wrong("no metric that is better when larger", where="--metric", expected=known,
                    found=metric)  # fmt: skip


def _own_arms(texts: Sequence[str], file: Path | None) -> dict[str, Arm]:
    own: dict[str, Arm] = {}
    if file is not None:
        for name, change in load_arms(file).items():
            own[name] = _arm(as_overrides(change), f"{file}: arms.{name}")
    for text in texts:
        name, equals, changes = text.partition("=")
        if not equals or not re.fullmatch(NAME_PATTERN, name):
            raise wrong("not an arm", where=f"--arm {text}", expected="NAME=KEY=VALUE,KEY=VALUE")
        own[name] = _arm(re.split(r",(?=[\w.*\-]+=)", changes), f"--arm {name}")
    if taken := own.keys() & READY.keys():
        raise wrong("the name of a ready-made arm", where=own[min(taken)].where, found=min(taken))
    return own


def _arm(changes: Sequence[str], where: str) -> Arm:
    alone = "alone=true"
    return Arm([c for c in changes if c and c != alone], alone in changes, where)


def _files(names: Sequence[str]) -> dict[str, Path]:
    """The config of each table."""
    files: dict[str, Path] = {}
    for name in names:
        if name not in TABLES and Path(name).suffix != ".yaml":
            fix = did_you_mean(name, TABLES)
            raise wrong("no such table", where="--tables", found=name, fix=fix)
        file = CONFIGS / f"{name}.yaml" if name in TABLES else Path(name)
        if files.setdefault(file.stem, file) != file:
            raise wrong("two tables of one name", where="--tables", found=file.stem)
    return files


def _settings(
    file: Path, base: Sequence[str], arms: Mapping[str, Arm]
) -> dict[str, tuple[str, list[str]]]:
    """Of each arm on a table: a hash of all that its trainings share, and the changes."""
    table = load_config(file, base)
    content = open_splits(table).fingerprint()
    settings = {}
    for name, arm in arms.items():
        with reported_as(arm.where):
            changes = [*base, *arm.changes]
            config = load_config(file, changes)
        settings[name] = _hash(config, content, name in BOOSTING, arm.alone), changes
    return settings


def _hash(config: Config, content: str, boosting: bool, alone: bool) -> str:
    """Equal for equal trainings but for the seed; boosting does not depend on the network's."""
    keys = config.model_dump(exclude={"name": True, "seed": True, "data": {"root"}})
    if boosting:
        raw = {name: feature.raw().model_dump() for name, feature in config.features.items()}
        keys = {key: keys[key] for key in ("data", "tasks")} | {"features": raw}
    recipe = {} if boosting or config.training.recipe == "none" else recipes(len(config.tasks))
    text = json.dumps([keys, recipe, content, alone], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@contextmanager
def unit_trainer(
    batch: Sequence[TableUnit], out: Path, *, threads: int | None
) -> Iterator[Callable[[TableUnit], dict[str, Any]]]:
    """Trains a unit on data that it prepares; nothing is shared."""
    del batch, out

    def train_unit(unit: TableUnit) -> dict[str, Any]:
        own = [] if threads is None else [f"training.threads={threads}"]
        config = load_config(unit.file, [*own, *unit.changes, f"seed={unit.seed}"])
        prepared = prepare(config, parent=load_parent(config))
        config = prepared.config
        begun = time.process_time()
        if unit.arm in BOOSTING:
            metrics, more = _boosted(config, prepared, unit.arm)
        else:
            metrics, more = _network(config, prepared, alone=unit.alone)
        return {
            "rows": prepared.rows,
            "kinds": {task: spec.kind for task, spec in config.tasks.items()},
            "metrics": {task: to_json(own) for task, own in metrics.items()},
            "seconds": time.process_time() - begun,
            **more,
        }

    yield train_unit


def _boosted(config: Config, prepared: Prepared, name: str) -> Measured:
    rows = HeldRows.of(config, prepared)
    boosted = boost_run(config, rows, name)
    return judged(config, rows, boosted.predictions), {"boosting": boosted.numbers()}


def _network(config: Config, prepared: Prepared, *, alone: bool) -> Measured:
    """Of one network, or of one for each task."""
    runs = [(config, prepared)]
    if alone:
        runs = [one_task(config, prepared, task) for task in config.tasks]
    metrics: dict[str, Metrics] = {}
    epochs, milliseconds = 0, 0.0
    for own_config, own in runs:
        fitted, scores = fit_and_test(own_config, own)
        metrics |= scores.metrics
        epochs += len(fitted.result.epochs)
        milliseconds += _predict_ms(Predictor(own_config, own.preprocessor, fitted.network), own)
    return metrics, {"epochs": epochs / len(runs), "predict_ms": milliseconds}


def _predict_ms(predictor: Predictor, prepared: Prepared) -> float:
    """To predict 1,000 encoded rows; of three tries, since the first is slow."""
    rows = concat(list(prepared.loaders["test"].epoch(0)))
    seconds = []
    for _ in range(3):
        begun = time.process_time()
        predictor.predict_encoded(rows)
        seconds.append(time.process_time() - begun)
    return 1e6 * min(seconds) / rows.num_rows


def _report(reference: str, metric: str | None, results: Sequence[UnitResult]) -> Outcome:
    summary = summarize(results, reference=reference, rivals=BOOSTING, metric=metric)
    return Outcome(summary, {}, make_page("Networks against boosting", summary))


if __name__ == "__main__":
    sys.exit(run_script(against_boosting))
