"""All units of an ablation as numbers: scores, differences, costs, agreement with the plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
from recsys_mtl.tasks import kind_of

Floats = NDArray[np.float64]
Scores = dict[str, dict[int, dict[str, float]]]
"""Arm -> seed -> task -> score."""
_FEW = 0.25
_NAN = float("nan")


@dataclass(frozen=True)
class Rule:
    """When an arm helps or hurts.

    Attributes:
        alpha: intervals and verdicts are of the level 1 − `alpha`.
        matters: points that a difference has to exceed.
        holm: whether p is corrected over the arms too.
    """

    alpha: float
    matters: float = 0.0
    holm: bool = False

    def difference(self, points: Sequence[float]) -> Difference:
        """Of pairs, at the rule's level."""
        return difference(np.array(points, float), level=1 - self.alpha, matters=self.matters)


@dataclass(frozen=True)
class ArmSummary:
    """What one arm did.

    Attributes:
        scores: task -> mean score over seeds; a collapse counts as the worst score.
        collapsed: task -> seeds on which it has no score though another arm has one.
        reached: task -> mean share of the reachable; empty without a truth.
        tasks: task -> difference to the reference; empty for the reference.
        overall: difference of the mean over tasks; None for the reference.
        few: the same over tasks with few labels (`Summary.few`); None where there are none.
        relative: Δm in percent, the mean over seeds; NaN for the reference.
        word: see `recsys_mtl.metrics.differences.Verdict`.
        sentence: the verdict with its numbers.
        train_ratio: training time per epoch over that of the reference, median over seeds.
        train_seconds: median.
        peak_memory_mb: median.
        epochs: mean number trained.
        affinity: agreement with the plan after each epoch, mean over seeds; empty if unknown.
        matrix: (T, T) mean affinity after the last epoch; None if nothing was measured.
    """

    scores: dict[str, float]
    collapsed: dict[str, int]
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
        level: of intervals and verdicts.
        matters: points that a difference has to exceed.
        against_truth: whether scores are against the truth of generated rows.
        seeds: that the reference has.
        kinds: task -> kind.
        labelled: task -> labelled training rows, mean over seeds.
        few: the tasks with fewer of them than a quarter of the median.
        planned: (T, T) planned relation; None where it is not known.
        arms: by name.
    """

    reference: str
    level: float
    matters: float
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


def summarize(units: Sequence[UnitResult], arms: Sequence[str], rule: Rule) -> Summary:
    """Compare every arm with the first, pair by pair.

    Args:
        units: results of units, in any order.
        arms: names, the reference first.
        rule: of the verdicts.
    """
    by_arm = {name: {u["seed"]: u for u in units if u["arm"] == name} for name in arms}
    reference = by_arm[arms[0]]
    first = next(iter(reference.values()))
    truth = all(unit["true_scores"].keys() == unit["kinds"].keys() for unit in units)
    key = "true_scores" if truth else "scores"
    scores: Scores = {
        name: {seed: _scores(unit, key) for seed, unit in own.items()}
        for name, own in by_arm.items()
    }
    collapsed = _count_collapses(scores, first["kinds"])
    related = bool(first["relation"])
    labelled = _means([unit["labelled"] for unit in reference.values()])
    few = [t for t, count in labelled.items() if count < _FEW * np.median([*labelled.values()])]
    gains = {name: _gains(own, scores[arms[0]]) for name, own in scores.items()}
    others = [name for name in arms[1:] if by_arm[name]]
    overall = {name: _over_tasks(gains[name], tuple(first["kinds"]), rule) for name in others}
    overall = corrected(overall) if rule.holm else overall
    return Summary(
        reference=arms[0],
        level=1 - rule.alpha,
        matters=rule.matters,
        against_truth=truth,
        seeds=sorted(reference),
        kinds=dict(first["kinds"]),
        labelled=labelled,
        few=few,
        planned=planned_matrix(first, unsigned=False) if related else None,
        arms={
            name: ArmSummary(
                scores=_means([*scores[name].values()]),
                collapsed=collapsed[name],
                tasks=_by_task(gains[name], first["kinds"], rule) if name in overall else {},
                overall=overall.get(name),
                few=_over_tasks(gains[name], few, rule) if few and name in overall else None,
                relative=_relative(scores[name], scores[arms[0]]) if name in overall else _NAN,
                **_verdict(overall.get(name), collapsed[name], rule),
                **_costs(own, reference),
                **_measured([*own.values()]),
            )
            for name, own in by_arm.items()
            if own
        },
    )


def _count_collapses(scores: Scores, kinds: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Arm -> task -> seeds on which it alone, or with others, has no score, which is filled in.

    The worst score stands for it: the lowest of all runs, or that of a constant.
    """
    collapsed: dict[str, dict[str, int]] = {name: {} for name in scores}
    for task, kind in kinds.items():
        constant = kind_of(kind).section.main_metric().constant
        runs = [(name, seed, one) for name, own in scores.items() for seed, one in own.items()]
        known = {seed for _, seed, one in runs if np.isfinite(one[task])}
        finite = [one[task] for *_, one in runs if np.isfinite(one[task])]
        worst = min(finite if constant is None else [constant, *finite], default=_NAN)
        for name, seed, one in runs:
            if seed in known and not np.isfinite(one[task]):
                one[task] = worst
                collapsed[name][task] = collapsed[name].get(task, 0) + 1
    return collapsed


def _gains(
    own: Mapping[int, Mapping[str, float]], reference: Mapping[int, Mapping[str, float]]
) -> list[dict[str, float]]:
    """Task -> points over the reference, a seed that both have each."""
    pairs = sorted(own.keys() & reference.keys())
    return [{t: 100 * (own[s][t] - reference[s][t]) for t in reference[s]} for s in pairs]


def _relative(
    own: Mapping[int, Mapping[str, float]], reference: Mapping[int, Mapping[str, float]]
) -> float:
    pairs = own.keys() & reference.keys()
    return _mean([relative_gain(own[seed], reference[seed]) for seed in pairs])


def _verdict(overall: Difference | None, collapsed: Mapping[str, int], rule: Rule) -> Any:
    if overall is None:
        word, sentence = "", "the reference"
    else:
        word, sentence = verdict(overall, alpha=rule.alpha, matters=rule.matters)
    if collapsed:
        lost = ", ".join(f"{task} on {count}" for task, count in collapsed.items())
        sentence += f"; no score, which counts as the worst one: {lost} seeds"
    return {"word": word, "sentence": sentence}


def _costs(own: Mapping[int, UnitResult], reference: Mapping[int, UnitResult]) -> Any:
    pairs, units = own.keys() & reference.keys(), list(own.values())
    ratios = [_per_epoch(own[s]) / _per_epoch(reference[s]) for s in pairs]
    return {
        "train_ratio": float(np.median(ratios)) if ratios else _NAN,
        "train_seconds": float(np.median([unit["train_seconds"] for unit in units])),
        "peak_memory_mb": float(np.median([unit["peak_memory_mb"] for unit in units])),
        "epochs": float(np.mean([unit["epochs"] for unit in units])),
    }


def _measured(units: Sequence[UnitResult]) -> Any:
    matrices = [measured_matrices(unit) for unit in units]
    return {
        "reached": _means([_reached(unit) for unit in units]),
        "affinity": _affinity(units, matrices),
        "matrix": np.mean([m[-1] for m in matrices], axis=0) if all(matrices) else None,
    }


def _by_task(
    gains: Sequence[Mapping[str, float]], tasks: Iterable[str], rule: Rule
) -> dict[str, Difference]:
    return corrected({task: rule.difference([gain[task] for gain in gains]) for task in tasks})


def _over_tasks(
    gains: Sequence[Mapping[str, float]], tasks: Sequence[str], rule: Rule
) -> Difference:
    """Of the mean over those tasks that both have a score of."""
    return rule.difference([_mean([gain[task] for task in tasks]) for gain in gains])


def _scores(unit: UnitResult, key: str) -> dict[str, float]:
    return {t: _NAN if v is None else float(v) for t, v in unit[key].items()}


def _reached(unit: UnitResult) -> dict[str, float]:
    """Share of the way from the constant to the oracle."""
    shares = {}
    for task, value in _scores(unit, "true_scores").items():
        low, high = np.array(unit["reachable"][task], float)  # null is NaN
        shares[task] = float((value - low) / (high - low)) if high > low else _NAN
    return shares


def _per_epoch(unit: UnitResult) -> float:
    seconds: float = unit["train_seconds"] / max(unit["epochs"], 1)
    return max(seconds, 1e-9)


def _means(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: _mean([value[key] for value in values]) for key in values[0]}


def _mean(values: Sequence[float]) -> float:
    """Of what is defined; NaN where nothing is."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else _NAN


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
