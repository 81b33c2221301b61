"""One trial: draw values, train with them, stop where it falls behind, store what came of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from recsys_mtl.ablation.arms import changed
from recsys_mtl.ablation.plan import as_overrides
from recsys_mtl.ablation.unit import prepared_by
from recsys_mtl.config import Config, config_hash
from recsys_mtl.data.patterns import expanded
from recsys_mtl.data.prepare import Prepared, prepare
from recsys_mtl.errors import UserError
from recsys_mtl.runs.parent import load_parent
from recsys_mtl.training import Epoch
from recsys_mtl.tuning.objective import Objective
from recsys_mtl.tuning.search import Search
from recsys_mtl.tuning.space import Drawn, Space
from recsys_mtl.wiring.trainer import Fitted, Recorder, fit_network

log = logging.getLogger(__name__)
Fit = Callable[[Config, Recorder], Fitted]
_MOST_PREPARED = 4
_prepared: list[Prepared] = []
"""Data that the last trials of this process used."""


@dataclass(frozen=True)
class Work:
    """What a process needs to run trials; it is sent to workers.

    Attributes:
        folder: of the tuning.
        base: the config that trials change, with what its recipe decided.
        space: keys and ranges.
        objectives: by which trials are compared.
        first: the base's own values, for the first trial; None: outside of the space.
        pruner: its name.
        seed: of the search.
    """

    folder: Path
    base: Config
    space: Space
    objectives: tuple[Objective, ...]
    first: Mapping[str, Drawn] | None
    pruner: Literal["median", "halving", "none"]
    seed: int

    def search(self, index: int = 0) -> Search:
        """The study, to draw the trial of that index."""
        directions = {one.name: one.larger_is_better for one in self.objectives}
        # A low rate is behind in the first epochs, and may be ahead in the end
        warmup = max(1, self.base.training.epochs // 10)
        return Search(
            self.folder,
            self.space,
            directions,
            pruner=self.pruner,
            seed=self.seed,
            index=index,
            warmup=warmup,
        )


class PrunedError(Exception):
    """The trial falls behind."""


def run_trial(work: Work, index: int, *, threads: int | None = None, fit: Fit | None = None) -> int:
    """Run the trial of that index, the base's own values at 0, and give its number.

    Args:
        work: the tuning.
        index: of the draw.
        threads: CPU threads, where the config names none.
        fit: trains; the package's training unless a test has its own.

    Raises:
        KeyboardInterrupt: Ctrl-C; the trial does not count.
    """
    asked = work.search(index).ask(work.first if index == 0 else None)
    begun, watched = time.perf_counter(), _Watched(work, asked.report)
    try:
        config = changed(work.base, as_overrides(asked.params), f"trial {asked.number}")
        facts: dict[str, Any] = {"config_hash": config_hash(config)}
        try:
            fitted = (fit or fit_prepared)(_with_threads(config, threads), watched)
        except PrunedError:
            asked.pruned(facts | _spent(begun, watched.epochs))
            return asked.number
        if fitted.result.stopped == "interrupted":
            raise KeyboardInterrupt
        best = fitted.result.best_epoch
        facts |= {**_spent(begun, len(fitted.result.epochs)), "best_epoch": best}
        validation = fitted.result.epochs[best].validation
        values = {one.name: one.value(validation) for one in work.objectives}
        known = [value for value in values.values() if value is not None]
        if len(known) == len(values):
            asked.complete(known, facts)
        else:
            undefined = [name for name, value in values.items() if value is None]
            asked.failed(f"undefined on the validation rows: {', '.join(undefined)}")
    except UserError as error:  # it diverged, is too large, or its values contradict each other
        asked.failed(str(error))
    except BaseException:
        with suppress(OSError):  # a full disk has an error of its own
            asked.killed()
        raise
    return asked.number


class _Watched(Recorder):
    """Reports the value of each epoch, where there is one objective."""

    def __init__(self, work: Work, report: Callable[[int, float], bool]) -> None:
        self.epochs = 0
        self._objectives, self._report = work.objectives, report

    def on_epoch(self, epoch: Epoch) -> None:
        """Raise `PrunedError` where the trial falls behind."""
        self.epochs = epoch.number + 1
        value = self._objectives[0].value(epoch.validation)
        if len(self._objectives) == 1 and value is not None and self._report(epoch.number, value):
            raise PrunedError


def fit_prepared(config: Config, recorder: Recorder) -> Fitted:
    """Train on data that an earlier trial of this process prepared, if they are the same."""
    wanted = prepared_by(expanded(config))
    for prepared in _prepared:
        if prepared_by(prepared.config) == wanted:
            return fit_network(config, prepared, recorder)
    prepared = prepare(config, parent=load_parent(config))
    keep(prepared)
    return fit_network(config, prepared, recorder)


def keep(prepared: Prepared) -> None:
    """Keep data for the trials of this process."""
    _prepared.insert(0, prepared)
    del _prepared[_MOST_PREPARED:]


def forget() -> None:
    """Drop all kept data."""
    _prepared.clear()


def _spent(begun: float, epochs: int) -> dict[str, Any]:
    return {"epochs": epochs, "seconds": round(time.perf_counter() - begun, 3)}


def _with_threads(config: Config, threads: int | None) -> Config:
    if threads is None or config.training.threads is not None:
        return config
    return changed(config, [f"training.threads={threads}"], "training.threads")
