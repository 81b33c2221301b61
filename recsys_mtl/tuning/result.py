"""What a tuning found: its trials, the best of them, and what mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from recsys_mtl.tuning.objective import Objective
from recsys_mtl.tuning.search import Search, Trial


@dataclass(frozen=True)
class TuningResult:
    """All of it.

    Attributes:
        name: of the tuning.
        objectives: by which trials are compared.
        trials: those that have ended, killed ones left out.
        base: number of the trial with the base's own values; None: it is not among the complete.
        best: number of the best trial; None: none is complete, or there are several objectives.
        front: numbers of the trials that none exceeds in every objective.
        importance: objective -> key -> share, the largest first; empty where trials are too few.
        seconds: that all calls together have searched.
    """

    name: str
    objectives: tuple[Objective, ...]
    trials: Sequence[Trial]
    base: int | None
    best: int | None
    front: Sequence[int]
    importance: Mapping[str, Mapping[str, float]]
    seconds: float

    def trial(self, number: int) -> Trial:
        """The trial of that number."""
        return next(trial for trial in self.trials if trial.number == number)

    def counts(self) -> dict[str, int]:
        """Trials by state."""
        states = [trial.state for trial in self.trials]
        return {state: states.count(state) for state in ("complete", "pruned", "failed")}

    def ranked(self) -> list[Trial]:
        """The complete trials, the best first; by number with several objectives."""
        complete = [trial for trial in self.trials if trial.state == "complete"]
        if len(self.objectives) > 1:
            return complete
        one = self.objectives[0]
        return sorted(complete, key=lambda t: t.values[one.name], reverse=one.larger_is_better)

    def numbers(self) -> dict[str, Any]:
        """For result.json."""
        return {
            "objectives": [asdict(one) for one in self.objectives],
            "counts": self.counts(),
            "search_seconds": round(self.seconds, 3),
            "base": self.base,
            "best": self.best,
            "front": list(self.front),
            "importance": {name: dict(shares) for name, shares in self.importance.items()},
            "trials": [
                {
                    "number": trial.number,
                    "state": trial.state,
                    "params": dict(trial.params),
                    "values": dict(trial.values),
                    "curve": {str(epoch): value for epoch, value in trial.curve.items()},
                    "reason": trial.reason or None,
                    **{key: trial.facts.get(key) for key in _FACTS},
                }
                for trial in self.trials
            ],
        }  # fmt: skip


_FACTS = ("epochs", "best_epoch", "seconds", "config_hash")


def summarized(
    name: str, search: Search, objectives: tuple[Objective, ...], first: Mapping[str, Any] | None
) -> TuningResult:
    """The result so far.

    Args:
        name: of the tuning.
        search: its study.
        objectives: of it.
        first: config path -> the base's own value; None: the base is outside of the space.
    """
    trials = [trial for trial in search.trials() if trial.state != "killed"]
    complete = [trial for trial in trials if trial.state == "complete"]
    several = len(objectives) > 1
    base = next((t.number for t in complete if first is not None and t.params == first), None)
    front = search.front()
    return TuningResult(
        name=name,
        objectives=objectives,
        trials=trials,
        base=base,
        best=front[0] if front and not several else None,
        front=front if several else [],
        importance={
            one.name: shares
            for index, one in enumerate(objectives)
            if (shares := search.importance(index))
        },
        seconds=search.seconds,
    )
