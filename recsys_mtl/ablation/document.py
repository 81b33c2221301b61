"""report.html of an ablation: what to conclude, and the charts that it can be seen in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import get_args

import numpy as np

from recsys_mtl.ablation.lists import list_table
from recsys_mtl.ablation.plan import Ablation
from recsys_mtl.ablation.report import (
    agreement_table,
    arm_table,
    compared,
    cost_table,
    level,
    metric_title,
    score_table,
    task_table,
)
from recsys_mtl.ablation.summary import ArmSummary, Summary, mean_known
from recsys_mtl.config import yaml_text
from recsys_mtl.metrics.differences import Difference, Verdict
from recsys_mtl.reports.charts import Row, Spot, heat_map, scatter
from recsys_mtl.reports.document import Code, Figure, Folded, Part, Section, document
from recsys_mtl.reports.page import Table
from recsys_mtl.reports.svg import forest

Arms = dict[str, ArmSummary]
_MOST_DOTS = 6_000
_MOST_CELLS = 5_000
_FLOOR = "noise_floor"


def ablation_document(ablation: Ablation, summary: Summary, folder: Path) -> str:
    """The HTML of an ablation's report.

    Args:
        ablation: the plan.
        summary: of all units.
        folder: of the ablation.
    """
    others = {name: arm for name, arm in summary.arms.items() if arm.overall is not None}
    verdicts = [f"{name}: {arm.sentence}." for name, arm in others.items()]
    parts: dict[str, Sequence[Part]] = {
        "Verdicts": [*verdicts, *_control(others), arm_table(summary)],
        "Over all tasks": [[_overall(summary, others)]] if others else [],
        "By task": _by_task(summary, others) if others else [],
        "Cost": [*([[_cost(summary, others)]] if others else []), cost_table(summary)],
        "Collapsed": _collapsed(summary.arms),
        "Scores": [score_table(summary), *([list_table(summary.lists)] if summary.lists else [])],
        "Affinity": _affinity(summary, others),
        "Settings": _settings(ablation, folder),
    }
    sections = [Section(title, of) for title, of in parts.items() if of]
    return document(f"Ablation {ablation.name}", _lead(summary, others), sections)


def _lead(summary: Summary, others: Arms) -> list[str]:
    """What to conclude, then what was compared."""
    by_word = {
        word: [n for n, arm in others.items() if arm.word == word] for word in get_args(Verdict)
    }
    texts = [
        f"{word.capitalize()}: {', '.join(names)}." for word, names in by_word.items() if names
    ]
    if not others:
        texts = [f"Only the reference '{summary.reference}' is trained: nothing is compared yet."]
    if lost := [name for name, arm in summary.arms.items() if arm.collapsed]:
        texts.append(f"Without a score on some seeds: {', '.join(lost)}; see Collapsed.")
    return [*texts, compared(summary)]


def _control(others: Arms) -> list[str]:
    """What the reference again, with its rows in another order, says of the rest."""
    if _FLOOR not in others:
        return []
    distinct = others[_FLOOR].word in ("helps", "hurts")
    text = (
        "differs, which chance alone seldom does: distrust the other verdicts"
        if distinct
        else "is as far from it as chance alone brings an arm"
    )
    return [f"{_FLOOR}, the reference with its rows in another order, {text}."]


def _overall(summary: Summary, others: Arms) -> Figure:
    dots = {
        name: [mean_known(points.values()) for points in arm.points.values()]
        for name, arm in others.items()
    }
    overall = {name: arm.overall for name, arm in others.items()}
    return _forest(summary, "Mean over tasks", overall, dots, _dots_fit(summary))


def _by_task(summary: Summary, others: Arms) -> list[Part]:
    """A forest plot a task, and the same as a table."""
    figures = []
    for task, kind in summary.kinds.items():
        gains = {name: arm.tasks[task] for name, arm in others.items()}
        dots = {
            name: [points[task] for points in arm.points.values()] for name, arm in others.items()
        }
        title = f"{task}: {metric_title(kind)}"
        figures.append(_forest(summary, title, gains, dots, _dots_fit(summary)))
    return [figures, Folded("The differences as a table", [task_table(summary, others)])]


def _forest(
    summary: Summary,
    title: str,
    gains: dict[str, Difference | None] | dict[str, Difference],
    dots: dict[str, list[float]],
    dotted: bool,
) -> Figure:
    rows: list[Row] = [
        (name, _known(gain.mean), _known(gain.low), _known(gain.high))
        for name, gain in gains.items()
        if gain is not None
    ]
    text = f"Lines: intervals of {level(summary)}. Grey band: differences that do not matter."
    text += " Rings: single seeds." if dotted else ""
    single = [[v for v in dots[name] if np.isfinite(v)] for name, *_ in rows] if dotted else []
    label = f"points over '{summary.reference}'"
    return Figure(forest(title, text, rows, label=label, reference=0.0, matters=summary.matters,
                         dots=single, first=False))  # fmt: skip


def _dots_fit(summary: Summary) -> bool:
    """Whether single seeds can be drawn without a page that is too large."""
    return len(summary.seeds) * len(summary.kinds) * len(summary.arms) <= _MOST_DOTS


def _cost(summary: Summary, others: Arms) -> Figure:
    """Gain over training time."""
    spots = [Spot(summary.reference, 1.0, 0.0, series=1)]
    for name, arm in others.items():
        gain = arm.overall
        if gain is not None and np.isfinite([gain.mean, arm.train_ratio]).all():
            ends = _known(gain.low), _known(gain.high)
            spots.append(Spot(name, arm.train_ratio, gain.mean, *ends))
    text = "An arm to the right costs more training time; one above the dashed line scores better."
    return scatter("Gain and training time", text, spots, level=0.0,
                   x=f"time per epoch, times that of '{summary.reference}' (median)",
                   y="points, mean over tasks")  # fmt: skip


def _collapsed(arms: Arms) -> list[Part]:
    rows = [
        (name, task, str(count)) for name, arm in arms.items()
        for task, count in arm.collapsed.items()
    ]  # fmt: skip
    note = "The worst score of all runs, or that of a constant, stands for the missing ones."
    columns = ("arm", "task", "seeds without a score")
    return [Table("No score though another arm has one", columns, rows, 2, note)] if rows else []


def _affinity(summary: Summary, others: Arms) -> list[Part]:
    """Planned relations next to what each arm measured, as far as they are known."""
    matrices = {"planned": summary.planned} if summary.planned is not None else {}
    matrices |= {name: arm.matrix for name, arm in others.items() if arm.matrix is not None}
    tasks = list(summary.kinds)
    figures = []
    for name, matrix in list(matrices.items())[: max(2, _MOST_CELLS // len(tasks) ** 2)]:
        shown = np.where(np.eye(len(tasks), dtype=bool), np.nan, matrix)
        text = "What the rows were made with." if name == "planned" else "After the last epoch."
        title = f"{name}: relations" if name == "planned" else f"{name}: affinity"
        figures.append(heat_map(title, text, shown.tolist(), rows=tasks, columns=tasks))
    if len(figures) == (summary.planned is not None):
        return []  # nothing was measured
    agreed = [agreement_table(others)] if any(arm.affinity for arm in others.values()) else []
    left = len(matrices) - len(figures)
    more = [f"The matrices of {left} more arms are in result.json."] if left else []
    return [figures, *more, *agreed]


def _settings(ablation: Ablation, folder: Path) -> list[Part]:
    """How to get this page again."""
    plan_file, out = (quote(str(path)) for path in (folder / "ablation.yaml", folder))
    plan = yaml_text.dump(ablation.model_dump(exclude={"tracking"}))
    return [
        "The same command makes this page again; more seeds or arms in its file add to it:",
        Code(f"recsys-mtl ablate {plan_file} --out {out}"),
        Folded("The plan", [Code(plan)]),
    ]


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
