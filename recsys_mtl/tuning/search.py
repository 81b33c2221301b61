"""The study of a tuning: a file in its folder, read and written through Optuna.

All that imports Optuna. The file is Optuna's journal, a line a change. One command at a time works
in a folder, so a trial that is running when a command begins is of one that was killed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from recsys_mtl.errors import wrong
from recsys_mtl.tuning.space import Choices, Drawn, FloatRange, IntRange, Space, choice, decoded

State = Literal["complete", "pruned", "failed", "killed"]
FILE = "study.journal"
_NAME = "tuning"
_STARTUP = 5
"""Complete trials before the median prunes."""
_RANDOM = 10
"""Trials that are drawn at random before the sampler learns from them."""
_REASON, _SECONDS, _FACTS, _INDEX = "reason", "seconds", "facts", "index"

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Trial:
    """A trial that has ended.

    Attributes:
        number: from 0.
        index: from 0, of the draw; a killed trial's is drawn again.
        state: `failed` counts for the budget, `killed` does not.
        params: config path -> value.
        values: by objective; empty unless complete.
        curve: epoch -> value, with one objective.
        reason: of a failure.
        facts: what else is stored of it: `epochs`, `best_epoch`, `seconds`, `config_hash`.
    """

    number: int
    index: int
    state: State
    params: Mapping[str, Any]
    values: Mapping[str, float] = field(default_factory=dict)
    curve: Mapping[int, float] = field(default_factory=dict)
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


class Asked:
    """A trial that runs."""

    def __init__(self, study: optuna.Study, trial: optuna.Trial, space: Space) -> None:
        self.number: int = trial.number
        self.params = decoded(space, trial.params)
        self._study, self._trial = study, trial

    def report(self, epoch: int, value: float) -> bool:
        """Store the value of an epoch; whether the trial falls behind."""
        self._trial.report(value, epoch)
        return bool(self._trial.should_prune())

    def complete(self, values: Sequence[float], facts: Mapping[str, Any]) -> None:
        """End it with a value for each objective."""
        self._trial.set_user_attr(_FACTS, dict(facts))
        self._study.tell(self._trial, list(values))

    def pruned(self, facts: Mapping[str, Any]) -> None:
        """End it early."""
        self._trial.set_user_attr(_FACTS, dict(facts))
        self._study.tell(self._trial, state=TrialState.PRUNED)

    def failed(self, reason: str) -> None:
        """End it without a value; it counts."""
        self._trial.set_user_attr(_REASON, reason)
        self._study.tell(self._trial, state=TrialState.FAIL)

    def killed(self) -> None:
        """End it as if it had not been."""
        self._study.tell(self._trial, state=TrialState.FAIL)


class Search:
    """A study in a folder, opened to draw the trial `index` or to read what is there.

    The seed of a trial depends on its index alone, and the sampler on the trials before it: with
    one process a study that was killed and resumed is the study that was not.

    Args:
        folder: of the tuning.
        space: its keys.
        larger_is_better: of each objective.
        pruner: its name.
        seed: of the search.
        index: of the draw.
        warmup: epochs after which nothing is pruned yet.
    """

    def __init__(
        self,
        folder: Path,
        space: Space,
        larger_is_better: Mapping[str, bool],
        *,
        pruner: Literal["median", "halving", "none"] = "none",
        seed: int = 0,
        index: int = 0,
        warmup: int = 1,
    ) -> None:
        self._space, self._objectives = space, tuple(larger_is_better)
        self._path, self._index = folder / FILE, index
        drawn = (seed * 1_000_003 + index) % 2**32
        try:
            self._study = optuna.create_study(
                study_name=_NAME,
                storage=JournalStorage(JournalFileBackend(str(self._path))),
                sampler=optuna.samplers.TPESampler(
                    n_startup_trials=_RANDOM, multivariate=True, constant_liar=True, seed=drawn
                ),
                pruner=_PRUNERS[pruner if len(larger_is_better) == 1 else "none"](warmup),
                directions=["maximize" if up else "minimize" for up in larger_is_better.values()],
                load_if_exists=True,
            )
            known = len(self._study.directions) == len(larger_is_better)
        except (ValueError, KeyError) as error:
            raise self._damaged(str(error)) from error
        if not known:
            raise self._damaged("a study of other metrics")

    def _damaged(self, reason: str) -> Exception:
        what = "the tuning's study cannot be read"
        fix = "restore the file, or give another --out"
        return wrong(what, where=str(self._path), expected="a journal of Optuna's", found=reason,
                     fix=fix)  # fmt: skip

    def ask(self, first: Mapping[str, Drawn] | None = None) -> Asked:
        """Begin a trial; with `first` one of these values.

        Raises:
            UserError: earlier trials have other choices of a key.
        """
        if first is not None:  # Optuna's queue would hand them to any process
            with warnings.catch_warnings(action="ignore"):  # that the class is experimental
                fixed = optuna.samplers.PartialFixedSampler(dict(first), self._study.sampler)
            self._study.sampler = fixed
        own = {key: _distribution(one) for key, one in self._space.items()}
        try:
            trial = self._study.ask(own)
        except ValueError as error:
            what, expected = "the tuning's study is of another space", "the space it was begun with"
            raise wrong(what, where=str(self._path), expected=expected, found=error,
                        fix="give another --out") from error  # fmt: skip
        trial.set_user_attr(_INDEX, self._index)
        return Asked(self._study, trial, self._space)

    def trials(self) -> list[Trial]:
        """Those that have ended, in their order."""
        ended = [t for t in self._study.get_trials(deepcopy=False) if t.state.is_finished()]
        return [self._read(trial) for trial in ended]

    def end_running(self) -> int:
        """End trials that nobody works on any more; how many."""
        left = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        for trial in left:
            self._study.tell(trial.number, state=TrialState.FAIL)
        return len(left)

    @property
    def seconds(self) -> float:
        """That all calls together have searched."""
        return float(self._study.user_attrs.get(_SECONDS, 0.0))

    @seconds.setter
    def seconds(self, value: float) -> None:
        self._study.set_user_attr(_SECONDS, value)

    def front(self) -> list[int]:
        """Numbers of the trials that none exceeds in every objective."""
        return [trial.number for trial in self._study.best_trials] if self._complete() > 0 else []

    def importance(self, index: int) -> dict[str, float]:
        """Share of each key in the differences of one objective; empty where there are too few."""
        if self._complete() < 2 * _STARTUP:
            return {}
        sign = -1 if str(self._study.directions[index].name) == "MAXIMIZE" else 1
        with warnings.catch_warnings(action="ignore"):  # that low values count as good
            shares = optuna.importance.get_param_importances(
                self._study, target=lambda trial: sign * trial.values[index]
            )
        return {key: float(share) for key, share in shares.items()}

    def _complete(self) -> int:
        return len(self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))

    def _read(self, trial: FrozenTrial) -> Trial:
        reason = trial.user_attrs.get(_REASON, "")
        state: State = "complete" if trial.state == TrialState.COMPLETE else "pruned"
        if trial.state == TrialState.FAIL:
            state = "failed" if reason else "killed"
        values = trial.values if state == "complete" else ()
        return Trial(
            number=trial.number,
            index=trial.user_attrs.get(_INDEX, trial.number),
            state=state,
            params=decoded(self._space, trial.params),
            values=dict(zip(self._objectives, values or (), strict=False)),
            curve=dict(sorted(trial.intermediate_values.items())),
            reason=reason,
            facts=trial.user_attrs.get(_FACTS, {}),
        )


def repair(folder: Path) -> None:
    """Drop what a killed process left: half a line of the journal, and its lock."""
    path = folder / FILE
    with suppress(FileNotFoundError):
        Path(f"{path}.lock").unlink()
    if not path.exists():
        return
    data = path.read_bytes()
    kept = data.rfind(b"\n") + 1
    if kept < len(data):
        with path.open("r+b") as file:
            file.truncate(kept)


def _distribution(one: FloatRange | IntRange | Choices) -> BaseDistribution:
    if isinstance(one, Choices):
        return CategoricalDistribution([choice(value) for value in one.choices])
    if isinstance(one, IntRange):
        last = one.high - (one.high - one.low) % one.step
        return IntDistribution(one.low, last, log=one.log, step=one.step)
    high = one.high
    if one.step is not None:
        high = one.low + math.floor((high - one.low) / one.step + 1e-9) * one.step
    return FloatDistribution(one.low, high, log=one.log, step=one.step)


def _median(warmup: int) -> Any:
    return optuna.pruners.MedianPruner(n_startup_trials=_STARTUP, n_warmup_steps=warmup)


def _halving(warmup: int) -> Any:
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=warmup + 1)


def _never(warmup: int) -> Any:
    return optuna.pruners.NopPruner()


_PRUNERS = {"median": _median, "halving": _halving, "none": _never}
