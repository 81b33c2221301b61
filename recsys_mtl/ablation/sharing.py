"""What an ablation of a shared network against a network a task says, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recsys_mtl.ablation.plan import load_ablation
from recsys_mtl.ablation.summary import Rule, Summary, over_tasks, summarize
from recsys_mtl.ablation.unit import ArmUnit
from recsys_mtl.metrics.differences import Difference, verdict
from recsys_mtl.study.unit import UnitResult, stored

SHARED, ALONE = "shared", "single_task"
"""Arms: one network for all tasks, and a network a task."""
_WORDS: Mapping[str, str] = {
    "helps": "Sharing pays",
    "hurts": "Sharing costs",
    "no difference that matters": "Sharing makes no difference that matters",
    "not decided": "These seeds do not decide whether sharing pays",
}


@dataclass(frozen=True)
class Sharing:
    """Points of one network for all tasks over a network a task.

    Attributes:
        differences: by group of tasks, in their mean: those with few labels, and the others; a
            group that has no task is left out.
        words: the verdict of each group, without numbers.
        sentences: the same with numbers, then each task and the cost.
    """

    differences: dict[str, Difference]
    words: dict[str, str]
    sentences: list[str]


def sharing_of(folder: Path) -> Sharing:
    """Of an ablation's folder."""
    plan = load_ablation(folder / "ablation.yaml")
    units = [ArmUnit(arm, seed) for seed in plan.seeds.values for arm in (ALONE, SHARED)]
    rule = Rule(plan.alpha, plan.matters, holm=plan.holm)
    return sharing([result for _, result in stored(units, folder)], rule)


def sharing(units: Sequence[UnitResult], rule: Rule) -> Sharing:
    """Compare the two arms on the tasks with few labels, and on the others.

    Args:
        units: their results.
        rule: of the verdicts.
    """
    summary = summarize(units, (ALONE, SHARED), rule)
    arm, tasks = summary.arms[SHARED], [*summary.kinds]
    groups = {
        "where labels are few": summary.few,
        "where they are not": [task for task in tasks if task not in summary.few],
    }
    differences, words, sentences = {}, {}, []
    for group, of in groups.items():
        if not of:
            continue
        one = over_tasks([*arm.points.values()], of, rule)
        word = _WORDS[verdict(one, alpha=rule.alpha, matters=rule.matters)[0]]
        differences[group], words[group] = one, word
        sentences.append(f"{word} {group}: {_numbers(summary, one, of)}.")
    each = ", ".join(f"{task} {_points(arm.tasks[task].mean)}" for task in tasks)
    sentences.append(
        f"Task by task: {each}. An epoch of the one network takes {arm.train_ratio:.0%} of theirs."
    )
    return Sharing(differences, words, sentences)


def _points(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}"  # not -0.0


def _numbers(summary: Summary, one: Difference, tasks: Sequence[str]) -> str:
    labels = sorted(summary.labelled[task] for task in tasks)
    count = " to ".join(dict.fromkeys(f"{value:,.0f}" for value in (labels[0], labels[-1])))
    gain = f"{_points(one.mean)} points [{one.low:+.1f}, {one.high:+.1f}]"
    mean = f"in the mean of {', '.join(tasks)} ({count} labelled rows)"
    return f"one network for all tasks gains {gain} over a network a task, {mean}"
