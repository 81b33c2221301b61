"""Runs a study: trains what is missing, compares, reports, tracks.

Files in the output folder, in addition to the note of its purpose:

    units/…/seed-N….json        one result a unit; the same call resumes after them
    report.md, report.html      the page, with its pictures
    result.json                 every number of the page
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple

from recsys_mtl.config.flat import flat
from recsys_mtl.config.schema import TrackingConfig
from recsys_mtl.errors import UserError
from recsys_mtl.folder_lock import locked
from recsys_mtl.processes import as_they_come, require_one_process
from recsys_mtl.progress import progress
from recsys_mtl.reports.output import envelope, plain, write_result
from recsys_mtl.reports.page import Page
from recsys_mtl.study.shares import Shares, report_share, shown_shares, use_shares
from recsys_mtl.study.unit import U, UnitResult, missing, store, stored
from recsys_mtl.text import as_markdown
from recsys_mtl.tracking.open import open_run
from recsys_mtl.tracking.run import Run

log = logging.getLogger(__name__)
Show = Callable[[Page, Sequence[Path]], None]
Trainer = Callable[..., AbstractContextManager[Callable[[U], Mapping[str, Any]]]]


class Outcome(NamedTuple):
    """What all units show together: a dataclass of numbers, those for the tracker, the page.

    `html` is what report.html holds; else the page.
    """

    summary: Any
    numbers: Mapping[str, float | None]
    page: Page
    html: str = ""


@dataclass(frozen=True)
class Study(Generic[U]):
    """A plan of units, how they are trained, and what their results show.

    Attributes:
        job: the command's name, in result.json and the tracker.
        name: of the study and its tracked run.
        tracking: where runs are tracked.
        params: what the tracker shows of the plan, nested.
        units: in the order of the report.
        batches: from units without a result to lists of those that share their data; a list is a
            worker's job.
        trainer: opens the data of a batch: `with trainer(batch, out, threads=None) as train`; sent
            to worker processes, so it has to be picklable. None leaves the threads as they are.
        report: of all results.
        check: refuses results that do not belong together.
        begin: called once the folder is locked and its results are checked.
        tracked: what the nested run of a unit shows; None: units have no runs of their own.
        settings: of a unit, what its nested run shows as parameters next to its identity.
        start_worker: called first in each worker process.
    """

    job: str
    name: str
    tracking: TrackingConfig
    params: Mapping[str, Any]
    units: Sequence[U]
    batches: Callable[[Sequence[U]], Sequence[Sequence[U]]]
    trainer: Trainer[U]
    report: Callable[[Sequence[UnitResult]], Outcome]
    check: Callable[[Sequence[UnitResult]], None] = lambda results: None
    begin: Callable[[], None] = lambda: None
    tracked: Callable[[UnitResult], Mapping[str, float | None]] | None = None
    settings: Callable[[UnitResult], Mapping[str, object]] = lambda result: {}
    start_worker: Callable[[], None] | None = None


def run_study(
    study: Study[U],
    out: Path,
    *,
    started: datetime,
    processes: int | None = None,
    show: Show | None = None,
) -> dict[str, Any]:
    """Train the units without a result, then compare, print and store the report.

    Args:
        study: what to run.
        out: its folder.
        started: when the job did.
        processes: batches of units that are trained at the same time; None takes one a core.
        show: gets the page and the files that hold it.

    Returns:
        What result.json holds.

    Raises:
        UserError: data or settings are wrong, a stored result is not that of its unit, or another
            job works in the folder.
        KeyboardInterrupt: Ctrl-C; the same call resumes after the units that are finished.
    """
    with locked(out):
        return _run(study, out, started=started, processes=processes, show=show)


def _run(
    study: Study[U], out: Path, *, started: datetime, processes: int | None, show: Show | None
) -> dict[str, Any]:
    require_one_process()
    study.check([result for _, result in stored(study.units, out)])
    study.begin()
    with _open(study, study.name, {"job": study.job}, out) as tracked:
        tracked.params(flat(study.params))
        try:
            _train(study, out, tracked, processes)
        except KeyboardInterrupt:
            log.warning("the same command resumes after the runs that are finished")
            raise
        results = [result for _, result in stored(study.units, out)]
        study.check(results)
        summary, numbers, page, html = study.report(results)
        written = page.write(out, "report", markdown=True, html=html)
        result = envelope(study.job, started=started)
        result |= {"name": study.name, "summary": plain(summary), "report": out / "report.md"}
        tracked.describe("\n\n".join(as_markdown(p) for p in page.parts if isinstance(p, str)))
        for path in [*written, write_result(out, result)]:
            tracked.artifact(path)
        tracked.metrics(numbers, 0)
        if show is not None:
            show(page, written)
    return result


def _train(study: Study[U], out: Path, tracked: Run, processes: int | None) -> None:
    """Train and track what is missing; what is stored is tracked again, as part of this run."""
    for unit, result in stored(study.units, out):
        _track_unit(study, tracked, unit, result)
    todo = missing(study.units, out)
    with (
        progress(f"{study.job} {study.name}", len(todo), unit="runs") as advance,
        shown_shares(todo, advance) as shares,
    ):
        for unit, result in _results(study, study.batches(todo), out, processes, shares):
            _track_unit(study, tracked, unit, result)
            report_share(unit, 1.0)


def _results(
    study: Study[U],
    batches: Sequence[Sequence[U]],
    out: Path,
    processes: int | None,
    shares: Shares,
) -> Iterator[tuple[U, UnitResult]]:
    """Units and their results as they come."""
    workers = min(processes or os.cpu_count() or 1, len(batches))
    if workers < 2:
        for batch in batches:
            yield from train_batch(study.trainer, batch, out)
        return
    jobs = [(study.trainer, batch, out) for batch in batches]
    start = partial(_start_worker, study.start_worker, shares)
    for results in as_they_come(_work, jobs, workers=workers, start=start):
        yield from results


def _start_worker(start: Callable[[], None] | None, shares: Shares) -> None:
    use_shares(shares)
    if start is not None:
        start()


def _work(
    trainer: Trainer[U], batch: Sequence[U], out: Path, *, threads: int
) -> list[tuple[U, UnitResult]]:
    return list(train_batch(trainer, batch, out, threads))


def train_batch(
    trainer: Trainer[U], batch: Sequence[U], out: Path, threads: int | None = None
) -> Iterator[tuple[U, UnitResult]]:
    """Units and their results, each once it is stored."""
    with trainer(batch, out, threads=threads) as train:
        for unit in batch:
            yield unit, store(unit, train(unit), out)


def _track_unit(study: Study[U], parent: Run, unit: U, result: UnitResult) -> None:
    """A nested run for a unit."""
    if study.tracked is None or parent.id is None:
        return
    trained, *_ = unit.identity
    tags = {key: str(result[key]) for key in (trained, "config_hash")}
    try:
        with _open(study, unit.label, {"mlflow.parentRunId": parent.id, **tags}) as nested:
            nested.params({**study.settings(result), **unit.identity})
            nested.metrics(study.tracked(result), 0)
    except UserError as error:  # tracking cannot end a study: its files have everything
        log.warning("%s is not tracked: %s", unit.label, error)


def _open(study: Study[U], name: str, tags: dict[str, str], folder: Path | None = None) -> Run:
    to = study.tracking
    return open_run(to.enabled, to.uri, to.experiment, name, tags, spool=folder, begun=folder)
