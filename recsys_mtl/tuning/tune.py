"""`recsys-mtl tune`: trials until the budget is spent, then the best config and the page."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from recsys_mtl.ablation.arms import reported_as
from recsys_mtl.ablation.plan import as_overrides
from recsys_mtl.config import Config, config_hash, load_config
from recsys_mtl.config.flat import flat
from recsys_mtl.data.patterns import expanded
from recsys_mtl.data.prepare import prepare
from recsys_mtl.errors import UserError, wrong
from recsys_mtl.files import atomic_write
from recsys_mtl.folder_lock import locked
from recsys_mtl.processes import killed_worker, require_one_process, worker_pool
from recsys_mtl.reports.output import envelope, prepare_out, write_result
from recsys_mtl.reports.page import Page
from recsys_mtl.runs.parent import load_parent
from recsys_mtl.tracking.open import open_run
from recsys_mtl.tracking.run import Run
from recsys_mtl.tuning.folder import (
    REPORT,
    claim,
    require_ours,
    without_credentials,
    write_configs,
)
from recsys_mtl.tuning.objective import objectives
from recsys_mtl.tuning.plan import Tuning
from recsys_mtl.tuning.ready import ready_space
from recsys_mtl.tuning.report import lead, report_html, terminal_page
from recsys_mtl.tuning.result import TuningResult, summarized
from recsys_mtl.tuning.search import Search, Trial, repair
from recsys_mtl.tuning.space import check_space, decoded, encoded
from recsys_mtl.tuning.trial import Fit, Work, forget, keep, run_trial

log = logging.getLogger(__name__)
Show = Callable[[Page, Sequence[Path]], None]
_HOPELESS = 5
"""Trials that fail before any other, after which the search ends."""


def tune(
    tuning: Tuning,
    out: str | Path,
    *,
    processes: int = 1,
    show: Show | None = None,
    fit: Fit | None = None,
) -> dict[str, Any]:
    """Search, then store the best config and the report; the same call resumes.

    Args:
        tuning: the plan.
        out: folder for the study, configs, report.html and result.json.
        processes: trials that run at the same time.
        show: gets the page for a terminal and the files that were written.
        fit: trains a trial (see `run_trial`), with one process; None: the package's training.

    Returns:
        What result.json holds. `interrupted`: Ctrl-C ended the search, and files hold what was
        known then.

    Raises:
        UserError: the base, its data, the space or the metric are wrong, or `out` holds another
            tuning, before anything is written; no trial was complete in the end.
        KeyboardInterrupt: Ctrl-C before the first complete trial.
    """
    started = datetime.now(UTC)
    require_one_process()
    out = prepare_out(out)
    base, rows = _base(tuning)
    space = ready_space(tuning.spaces, base) | tuning.space
    aims = objectives(tuning.metric, base)
    check_space(base, tuning.space, [one.name for one in aims])
    first = encoded(base, space)
    if first is None:
        log.warning("the base's own values are outside of the space: they are not tried")
    work = Work(out, base, space, aims, first, tuning.pruner, tuning.seed)
    require_ours(tuning, base, rows, out)
    with locked(out):
        claim(tuning, base, rows, out)
        repair(out)
        search = work.search()
        if search.end_running():
            log.info("trials of a killed process do not count")
        return _tune(tuning, work, started=started, processes=processes, show=show, fit=fit)


def _base(tuning: Tuning) -> tuple[Config, str]:
    """The config that trials change, with what its recipe decides for the data, which are kept.

    Their fingerprint, too.
    """
    with reported_as("change"):
        config = load_config(tuning.base, as_overrides(tuning.change))
    forget()
    prepared = prepare(expanded(config), parent=load_parent(config))
    keep(prepared)
    return without_credentials(prepared.config), prepared.fingerprint


def _tune(
    tuning: Tuning,
    work: Work,
    *,
    started: datetime,
    processes: int,
    show: Show | None,
    fit: Fit | None,
) -> dict[str, Any]:
    out = work.folder
    tags = {"job": "tune", "config_hash": config_hash(work.base)}
    with _open(tuning, tuning.name, tags, out) as tracked:
        shown = tuning.model_dump(exclude={"tracking"}) | {"change": tuning.changes}
        tracked.params(flat(shown))
        interrupted = _search(tuning, work, tracked, processes, fit)
        result = _result(tuning, work)
        _require_some(result, work, interrupted)
        written = write_configs(tuning, work.base, result, out)
        page = report_html(result, work.space, interrupted=interrupted)
        written.append(atomic_write(out / REPORT, page))
        numbers = envelope("tune", started=started, config_hash=config_hash(work.base))
        numbers |= {"name": tuning.name, **result.numbers(), "interrupted": interrupted}
        numbers |= {"configs": [str(path) for path in written[:-1]], "report": str(out / REPORT)}
        numbers["mlflow"] = {"experiment_id": tracked.experiment_id, "run_id": tracked.id}
        written.append(write_result(out, numbers))
        for path in written:
            tracked.artifact(path)
        tracked.describe("\n\n".join(lead(result, interrupted=interrupted)))
        if result.best is not None:
            tracked.metrics(_as_metrics(result.trial(result.best).values, "best"), 0)
        if show is not None:
            show(terminal_page(result, work.space, interrupted=interrupted), written)
        if interrupted:
            log.warning("the same command resumes after the trials that have ended")
            tracked.end("KILLED")
    return numbers


def _search(tuning: Tuning, work: Work, tracked: Run, processes: int, fit: Fit | None) -> bool:
    """Run trials until the budget is spent; whether Ctrl-C ended it."""
    search = work.search()
    budget = _Budget(tuning, search)
    for trial in search.trials():
        _track(tuning, work, tracked, trial)

    def ended(number: int) -> None:
        budget.spend()
        trial = next(t for t in search.trials() if t.number == number)
        _log(trial, budget.counted)
        _track(tuning, work, tracked, trial)

    try:
        if processes == 1:
            while budget.allows(0):
                ended(run_trial(work, budget.index(), fit=fit))
        else:
            _fan_out(work, budget, processes, ended)
    except KeyboardInterrupt:
        repair(work.folder)
        budget.spend()
        search.end_running()
        return True
    except BrokenProcessPool as error:
        repair(work.folder)
        search.end_running()
        raise killed_worker(processes) from error
    return False


def _fan_out(work: Work, budget: _Budget, processes: int, ended: Callable[[int], None]) -> None:
    threads = max(1, (os.cpu_count() or 1) // processes)
    running = dict[Future[int], int]()
    with worker_pool(processes) as pool:
        while True:
            while len(running) < processes and budget.allows(len(running)):
                index = budget.index(running.values())
                running[pool.submit(partial(run_trial, work, index, threads=threads))] = index
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                del running[future]
                ended(future.result())


class _Budget:
    """Trials and time that are left, those of earlier calls included."""

    def __init__(self, tuning: Tuning, search: Search) -> None:
        self._tuning, self._search = tuning, search
        self._before, self._begun = search.seconds, time.perf_counter()

    @property
    def counted(self) -> int:
        """Trials that count."""
        return len(self._trials())

    def index(self, running: Iterable[int] = ()) -> int:
        """The smallest that no trial has that counts or runs."""
        taken = {trial.index for trial in self._trials()} | set(running)
        return next(index for index in count() if index not in taken)

    def allows(self, running: int) -> bool:
        """Whether another trial may begin while so many run."""
        trials, minutes = self._trials(), self._tuning.minutes
        if len(trials) + running >= self._tuning.trials:
            return False
        if minutes is not None and self._spent() >= 60 * minutes:
            return False
        failed = [trial.state == "failed" for trial in trials]
        return len(failed) < _HOPELESS or not all(failed)

    def spend(self) -> None:
        """Store the time until now."""
        self._search.seconds = self._spent()

    def _spent(self) -> float:
        return self._before + time.perf_counter() - self._begun

    def _trials(self) -> list[Trial]:
        return [trial for trial in self._search.trials() if trial.state != "killed"]


def _result(tuning: Tuning, work: Work) -> TuningResult:
    first = None if work.first is None else decoded(work.space, work.first)
    return summarized(tuning.name, work.search(), work.objectives, first)


def _require_some(result: TuningResult, work: Work, interrupted: bool) -> None:
    """There is a complete trial.

    Raises:
        UserError: there is none.
        KeyboardInterrupt: none yet.
    """
    if result.ranked():
        return
    if interrupted:
        log.warning("interrupted before the first complete trial; the same command resumes")
        raise KeyboardInterrupt
    reasons = [trial.reason for trial in result.trials if trial.reason]
    counts = ", ".join(f"{count} {state}" for state, count in result.counts().items() if count)
    raise wrong(
        "no trial was complete", where=str(work.folder), found=counts or "no trial began",
        expected=f"one; the last failure: {reasons[-1]}" if reasons else "one",
        fix="give a larger budget, or narrower ranges in a new folder",
    )  # fmt: skip


def _log(trial: Trial, counted: int) -> None:
    values = ", ".join(f"{name} {value:.5f}" for name, value in trial.values.items())
    about = values or trial.reason
    log.info("trial %d (%d so far) %s%s", trial.number, counted, trial.state,
             f": {about}" if about else "")  # fmt: skip


def _track(tuning: Tuning, work: Work, parent: Run, trial: Trial) -> None:
    """A nested run of a trial."""
    if parent.id is None or trial.state == "killed":
        return
    tags = {"mlflow.parentRunId": parent.id, "state": trial.state}
    name = f"{tuning.name}, trial {trial.number}"
    try:
        with _open(tuning, name, tags) as nested:
            nested.params({"trial": trial.number, **trial.params})
            for epoch, value in trial.curve.items():
                nested.metrics(_as_metrics({work.objectives[0].name: value}, "valid"), epoch)
            nested.metrics(_as_metrics(trial.values, "best_epoch"), 0)
            spent = {key: trial.facts.get(key) for key in ("seconds", "epochs")}
            nested.metrics(spent, 0)
    except UserError as error:  # tracking cannot end a search: its files have everything
        log.warning("%s is not tracked: %s", name, error)


def _as_metrics(values: Mapping[str, float], prefix: str) -> dict[str, float | None]:
    return {f"{prefix}/{name}": value for name, value in values.items()}


def _open(tuning: Tuning, name: str, tags: Mapping[str, str], folder: Path | None = None) -> Run:
    to = tuning.tracking
    return open_run(to.enabled, to.uri, to.experiment, name, tags, spool=folder, begun=folder)
