"""All units of an ablation as numbers: scores, differences, costs, agreement with the plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys_mtl.ablation.affinity import (
    Agreement,
    agreement,
    mean_agreement,
    measured_matrices,
    planned_matrix,
)
from recsys_mtl.metrics.differences import (
    Difference,
    corrected,
    difference,
    relative_gain,
    verdict,
)
from recsys_mtl.study.unit import UnitResult

Floats = NDArray[np.float64]
_FEW = 0.25


@dataclass(frozen=True)
class ArmSummary:
    """What one arm did.

    Attributes:
        scores: task -> mean score over the seeds where it is defined.
        reached: task -> mean share of the reachable; empty without a truth.
        tasks: task -> difference to the reference; empty for the reference.
        overall: difference of the mean over tasks; None for the reference.
        few: the same over tasks with few labels (`Summary.few`); None where there are none.
        relative: Δm in percent, the mean over seeds; NaN for the reference.
        word: helps, hurts or no difference shown.
        sentence: the verdict with its numbers.
        train_ratio: training time per epoch over that of the reference, median over seeds.
        train_seconds: median.
        peak_memory_mb: median.
        epochs: mean number trained.
        affinity: agreement with the plan after each epoch, mean over seeds; empty if unknown.
        matrix: (T, T) mean affinity after the last epoch; None if nothing was measured.
    """

    scores: dict[str, float]
    reached: dict[str, float]
    tasks: dict[str, Difference]
    overall: Difference | None
    few: Difference | None
    relative: float
    word: str
    sentence: str
    train_ratio: float
    train_seconds: float
    peak_memory_mb: float
    epochs: float
    affinity: list[Agreement]
    matrix: Floats | None


@dataclass(frozen=True)
class Summary:
    """All arms, the reference first.

    Attributes:
        reference: name of the arm that all others are compared with.
        against_truth: whether scores are against the truth of generated rows.
        seeds: that the reference has.
        kinds: task -> kind.
        labelled: task -> labelled training rows, mean over seeds.
        few: the tasks with fewer of them than a quarter of the median.
        planned: (T, T) planned relation; None where it is not known.
        arms: by name.
    """

    reference: str
    against_truth: bool
    seeds: list[int]
    kinds: dict[str, str]
    labelled: dict[str, float]
    few: list[str]
    planned: Floats | None
    arms: dict[str, ArmSummary]

    def numbers(self) -> dict[str, float | None]:
        """For the tracker."""
        values: dict[str, float | None] = {}
        for name, arm in self.arms.items():
            values |= {f"{name}/score/{task}": score for task, score in arm.scores.items()}
            if arm.overall is not None:
                for key in ("mean", "low", "high", "p"):
                    values[f"{name}/difference/{key}"] = getattr(arm.overall, key)
        return values


def summarize(units: Sequence[UnitResult], arms: Sequence[str], *, alpha: float) -> Summary:
    """Compare every arm with the first, pair by pair.

    Args:
        units: results of units, in any order.
        arms: names, the reference first.
        alpha: p below which an arm helps or hurts.
    """
    by_arm = {name: {u["seed"]: u for u in units if u["arm"] == name} for name in arms}
    reference = by_arm[arms[0]]
    first = next(iter(reference.values()))
    truth = all(unit["true_scores"].keys() == unit["kinds"].keys() for unit in units)
    key = "true_scores" if truth else "scores"
    related = bool(first["relation"])
    labelled = _means([unit["labelled"] for unit in reference.values()])
    few = [t for t, count in labelled.items() if count < _FEW * np.median([*labelled.values()])]
    return Summary(
        reference=arms[0],
        against_truth=truth,
        seeds=sorted(reference),
        kinds=dict(first["kinds"]),
        labelled=labelled,
        few=few,
        planned=planned_matrix(first, unsigned=False) if related else None,
        arms={name: _arm(own, reference, key, few, alpha) for name, own in by_arm.items() if own},
    )


def _arm(
    own: Mapping[int, UnitResult],
    reference: Mapping[int, UnitResult],
    key: str,
    few: Sequence[str],
    alpha: float,
) -> ArmSummary:
    itself = own is reference
    units, pairs = list(own.values()), sorted(own.keys() & reference.keys())
    scores = [(_scores(own[seed], key), _scores(reference[seed], key)) for seed in pairs]
    gains = [{task: ours[task] - theirs[task] for task in theirs} for ours, theirs in scores]
    tasks = {} if itself else _by_task(gains, units[0]["kinds"])
    overall = None if itself else _over_tasks(gains, tuple(tasks))
    word, sentence = ("", "the reference") if overall is None else verdict(overall, alpha)
    ratios = [_per_epoch(own[s]) / _per_epoch(reference[s]) for s in pairs]
    measured = [measured_matrices(unit) for unit in units]
    return ArmSummary(
        scores=_means([_scores(unit, key) for unit in units]),
        reached=_means([_reached(unit) for unit in units]),
        tasks=tasks,
        overall=overall,
        few=_over_tasks(gains, few) if few and tasks else None,
        relative=float("nan") if itself else _mean([relative_gain(*pair) for pair in scores]),
        word=word,
        sentence=sentence,
        train_ratio=float(np.median(ratios)) if ratios else float("nan"),
        train_seconds=float(np.median([unit["train_seconds"] for unit in units])),
        peak_memory_mb=float(np.median([unit["peak_memory_mb"] for unit in units])),
        epochs=float(np.mean([unit["epochs"] for unit in units])),
        affinity=_affinity(units, measured),
        matrix=np.mean([m[-1] for m in measured], axis=0) if all(measured) else None,
    )


def _by_task(gains: Sequence[Mapping[str, float]], tasks: Iterable[str]) -> dict[str, Difference]:
    points = {task: np.array([100 * gain[task] for gain in gains], float) for task in tasks}
    return corrected({task: difference(values) for task, values in points.items()})


def _over_tasks(gains: Sequence[Mapping[str, float]], tasks: Sequence[str]) -> Difference:
    """Of the mean over those tasks that both have a score of."""
    return difference(np.array([100 * _mean([gain[t] for t in tasks]) for gain in gains], float))


def _scores(unit: UnitResult, key: str) -> dict[str, float]:
    return {t: float("nan") if v is None else float(v) for t, v in unit[key].items()}


def _reached(unit: UnitResult) -> dict[str, float]:
    """Share of the way from the constant to the oracle."""
    shares = {}
    for task, value in _scores(unit, "true_scores").items():
        low, high = np.array(unit["reachable"][task], float)  # null is NaN
        shares[task] = float((value - low) / (high - low)) if high > low else float("nan")
    return shares


def _per_epoch(unit: UnitResult) -> float:
    seconds: float = unit["train_seconds"] / max(unit["epochs"], 1)
    return max(seconds, 1e-9)


def _means(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: _mean([value[key] for value in values]) for key in values[0]}


def _mean(values: Sequence[float]) -> float:
    """Of what is defined; NaN where nothing is."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _affinity(units: Sequence[UnitResult], measured: Sequence[list[Floats]]) -> list[Agreement]:
    """After each epoch that every seed reached."""
    if not all(measured) or not units[0]["relation"]:
        return []
    epochs = min(len(matrices) for matrices in measured)
    unsigned = units[0]["measure"] != "gradient_cosine"
    return [
        mean_agreement(
            [
                agreement(
                    matrices[epoch],
                    planned_matrix(unit, unsigned=unsigned),
                    threshold=unit["threshold"],
                )
                for unit, matrices in zip(units, measured, strict=True)
            ]
        )
        for epoch in range(epochs)
    ]
