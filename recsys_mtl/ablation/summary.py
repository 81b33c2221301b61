"""All units of an ablation as numbers: scores, differences, costs, agreement with the plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from recsys_mtl.ablation.affinity import (
    Agreement,
    agreement,
    mean_agreement,
    measured_matrices,
    planned_matrix,
)
from recsys_mtl.ablation.collapse import Scores, fill_collapses
from recsys_mtl.ablation.lists import Within, compared
from recsys_mtl.adatt import receivers
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
_NAN = float("nan")
_IDLE = "the epoch whose weights are kept is of the warm-up (training.early_stopping.keep: last)"


@dataclass(frozen=True)
class Rule:
    """When an arm helps or hurts.

    Attributes:
        alpha: intervals and verdicts are of the level 1 − `alpha`.
        matters: points that a difference has to exceed.
        holm: whether p is corrected over the arms too.
        arms: over how many, where it is.
    """

    alpha: float
    matters: float = 0.0
    holm: bool = False
    arms: int = 1

    def difference(self, points: Sequence[float], *, tests: int = 1) -> Difference:
        """Of pairs, at the rule's level; power as p is corrected over so many tests."""
        values = np.array(points, float)
        return difference(values, level=1 - self.alpha, matters=self.matters, tests=tests)


@dataclass(frozen=True)
class ArmSummary:
    """What one arm did.

    Attributes:
        scores: task -> mean score over seeds; a collapse counts as the worst score.
        collapsed: task -> seeds on which it has no score though another arm has one.
        reached: task -> mean share of the reachable, a collapse counted so too; empty without a
            truth.
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
        points: seed -> task -> points over the reference; empty for the reference.
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
    points: dict[int, dict[str, float]]
    affinity: list[Agreement]
    matrix: Floats | None


@dataclass(frozen=True)
class Summary:
    """All arms, the reference first.

    Attributes:
        reference: name of the arm that all others are compared with.
        level: of intervals and verdicts.
        matters: points that a difference has to exceed.
        corrected: arms that the verdicts' p is corrected over; 1: it is not.
        against_truth: whether scores are against the truth of generated rows.
        seeds: that the reference has.
        kinds: task -> kind.
        labelled: task -> labelled training rows, mean over seeds.
        few: the tasks that borrow would call scarce, by the mean of their labelled rows.
        planned: (T, T) planned relation; None where it is not known.
        arms: by name.
        lists: metrics within lists, by task and metric, then arm; empty without lists.
    """

    reference: str
    level: float
    matters: float
    corrected: int
    against_truth: bool
    seeds: list[int]
    kinds: dict[str, str]
    labelled: dict[str, float]
    few: list[str]
    planned: Floats | None
    arms: dict[str, ArmSummary]
    lists: dict[str, dict[str, Within]] = field(default_factory=dict)

    def numbers(self) -> dict[str, float | None]:
        """For the tracker."""
        values: dict[str, float | None] = {}
        for metric, of_arms in self.lists.items():
            key = metric.replace(" ", "/")
            values |= {f"{arm}/lists/{key}": one.mean for arm, one in of_arms.items()}
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
    scores = {
        name: {seed: _scores(unit, key) for seed, unit in own.items()}
        for name, own in by_arm.items()
    }
    mains = {task: kind_of(kind).section.main_metric() for task, kind in first["kinds"].items()}
    collapsed = fill_collapses(scores, {task: main.constant for task, main in mains.items()})
    labelled = _means([unit["labelled"] for unit in reference.values()])
    short = receivers(torch.tensor([*labelled.values()])).tolist()
    few = [task for task, is_short in zip(labelled, short, strict=True) if is_short]
    gains = {name: _gains(own, scores[arms[0]]) for name, own in scores.items()}
    others = [name for name in arms[1:] if by_arm[name]]
    rule = replace(rule, arms=len(others)) if rule.holm and others else rule
    overall = {name: over_tasks(gains[name], tuple(first["kinds"]), rule) for name in others}
    overall = corrected(overall) if rule.holm else overall
    return Summary(
        reference=arms[0],
        level=1 - rule.alpha,
        matters=rule.matters,
        corrected=rule.arms,
        against_truth=truth,
        seeds=sorted(reference),
        kinds=dict(first["kinds"]),
        labelled=labelled,
        few=few,
        planned=planned_matrix(first, unsigned=False) if first["relation"] else None,
        arms={
            name: _arm(
                _Runs(own, scores[name], collapsed[name], gains[name]),
                _Runs(reference, scores[arms[0]], {}, []),
                overall.get(name),
                few,
                rule,
            )
            for name, own in by_arm.items()
            if own
        },
        lists=compared({n: own for n, own in by_arm.items() if own}, arms[0], rule.difference),
    )


@dataclass(frozen=True)
class _Runs:
    """All runs of one arm.

    Attributes:
        units: by seed.
        scores: by seed, with collapses filled in.
        collapsed: see `ArmSummary`.
        gains: task -> points over the reference, a seed that both have each.
    """

    units: Mapping[int, UnitResult]
    scores: Scores
    collapsed: dict[str, int]
    gains: Sequence[Mapping[str, float]]


def _arm(
    own: _Runs, reference: _Runs, overall: Difference | None, few: Sequence[str], rule: Rule
) -> ArmSummary:
    """`overall` is None for the reference."""
    units, pairs = list(own.units.values()), sorted(own.units.keys() & reference.units.keys())
    others = overall is not None
    tasks = _by_task(own.gains, units[0]["kinds"], rule) if others else {}
    relative = [relative_gain(own.scores[s], reference.scores[s]) for s in pairs] if others else []
    word, sentence = _verdict(overall, own.collapsed, rule)
    idle = sum(bool(unit.get("kept_from_warmup")) for unit in units)
    if idle:
        sentence += f"; nothing was transferred on {idle} of {len(units)} seeds: {_IDLE}"
    ratios = [_per_epoch(own.units[s]) / _per_epoch(reference.units[s]) for s in pairs]
    measured = [measured_matrices(unit) for unit in units]
    return ArmSummary(
        scores=_means([*own.scores.values()]),
        collapsed=own.collapsed,
        reached=_means([_reached(unit, own.scores[seed]) for seed, unit in own.units.items()]),
        tasks=tasks,
        overall=overall,
        few=over_tasks(own.gains, few, rule) if few and others else None,
        relative=mean_known(relative),
        word=word,
        sentence=sentence,
        train_ratio=float(np.median(ratios)) if ratios else _NAN,
        train_seconds=float(np.median([unit["train_seconds"] for unit in units])),
        peak_memory_mb=float(np.median([unit["peak_memory_mb"] for unit in units])),
        epochs=float(np.mean([unit["epochs"] for unit in units])),
        points=dict(zip(pairs, map(dict, own.gains), strict=True)) if others else {},
        affinity=_affinity(units, measured),
        matrix=np.mean([m[-1] for m in measured], axis=0) if all(measured) else None,
    )


def _gains(own: Scores, reference: Scores) -> list[dict[str, float]]:
    pairs = sorted(own.keys() & reference.keys())
    return [{t: 100 * (own[s][t] - reference[s][t]) for t in reference[s]} for s in pairs]


def _verdict(
    overall: Difference | None, collapsed: Mapping[str, int], rule: Rule
) -> tuple[str, str]:
    """Word and sentence."""
    word, sentence = "", "the reference"
    if overall is not None:
        word, sentence = verdict(overall, alpha=rule.alpha, matters=rule.matters)
        if word == "not decided" and rule.arms > 1 and np.isfinite(overall.detectable):
            sentence += f" with p corrected over {rule.arms} arms"
    if collapsed:
        lost = ", ".join(f"{task} on {count}" for task, count in collapsed.items())
        sentence += f"; no score, which counts as the worst one: {lost} seeds"
    return word, sentence


def _by_task(
    gains: Sequence[Mapping[str, float]], tasks: Iterable[str], rule: Rule
) -> dict[str, Difference]:
    return corrected({task: rule.difference([gain[task] for gain in gains]) for task in tasks})


def over_tasks(
    gains: Sequence[Mapping[str, float]], tasks: Sequence[str], rule: Rule
) -> Difference:
    """Of the mean over those tasks that both have a score of."""
    means = [mean_known([gain[task] for task in tasks]) for gain in gains]
    return rule.difference(means, tests=rule.arms)


def _scores(unit: UnitResult, key: str) -> dict[str, float]:
    return {t: _NAN if v is None else float(v) for t, v in unit[key].items()}


def _reached(unit: UnitResult, filled: Mapping[str, float]) -> dict[str, float]:
    """Share of the way from the constant to the oracle; of a collapse by its `filled` score."""
    shares = {}
    for task, value in _scores(unit, "true_scores").items():
        low, high = np.array(unit["reachable"][task], float)  # null is NaN
        value = value if np.isfinite(value) else filled[task]
        shares[task] = float((value - low) / (high - low)) if high > low else _NAN
    return shares


def _per_epoch(unit: UnitResult) -> float:
    seconds: float = unit["train_seconds"] / max(unit["epochs"], 1)
    return max(seconds, 1e-9)


def _means(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: mean_known([value[key] for value in values]) for key in values[0]}


def mean_known(values: Iterable[float]) -> float:
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
