"""An ablation's summary as a page: verdicts, differences, scores, affinity and the plan."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from recsys_mtl.ablation.lists import list_table
from recsys_mtl.ablation.summary import ArmSummary, Summary
from recsys_mtl.metrics.differences import Difference
from recsys_mtl.reports.cells import number, with_interval
from recsys_mtl.reports.page import Page, Picture, Table
from recsys_mtl.tasks import kind_of
from recsys_mtl.tracking.heatmap import draw_heatmap

_HELPS, _HURTS, _NEITHER = "#228833", "#cc3311", "#777777"


def make_page(name: str, summary: Summary) -> Page:
    """The complete report."""
    others = {n: arm for n, arm in summary.arms.items() if arm.overall is not None}
    verdicts = [f"{arm}: {other.sentence}." for arm, other in others.items()]
    parts: list[str | Table | Picture] = [compared(summary), *verdicts, arm_table(summary)]
    parts.append(Picture("Differences", "differences", _forest(summary, others)))
    parts += [cost_table(summary), task_table(summary, others), score_table(summary)]
    parts += [list_table(summary.lists)] if summary.lists else []
    if any(arm.affinity for arm in others.values()):
        parts += [agreement_table(others), Picture("Affinity", "affinity", _heatmaps(summary))]
    return Page(f"Ablation {name}", parts)


def compared(summary: Summary) -> str:
    """What was compared with what, and when a difference matters."""
    count = len(summary.seeds)
    measured = "the true probabilities and means" if summary.against_truth else "the labels"
    return (
        f"{len(summary.arms)} arms on {count} paired seeds ({summary.seeds[0]} to "
        f"{summary.seeds[-1]}), {len(summary.kinds)} tasks; every arm is compared with "
        f"'{summary.reference}'. Scores are "
        + ", ".join(
            f"{metric_title(kind)} ({kind})" for kind in dict.fromkeys(summary.kinds.values())
        )
        + f", against {measured}; differences are in points, a score times 100. Intervals and "
        f"verdicts are of the level {level(summary)}; a difference matters beyond "
        f"{summary.matters:g} points."
    )


def arm_table(summary: Summary) -> Table:
    """Differences over all tasks, a row an arm."""
    rows = []
    for name, arm in summary.arms.items():
        overall, cells = arm.overall, [""] * (5 if summary.few else 4)
        if overall is not None:
            cells = [
                points_of(overall),
                *([points_of(arm.few)] if arm.few is not None else []),
                number(overall.p, ".2g"),
                f"{overall.wins}:{overall.losses}",
                number(arm.relative, "+.2f"),
            ]
        rows.append([name, *cells, number(arm.train_ratio, ".2f")])
    note = (
        "Mean over tasks with its interval by Student's t over seeds; Δm: mean relative gain "
        "in percent, over tasks that the reference scores 0.05 or more in; time: training time per "
        "epoch over the reference's, median."
    )
    columns = ["arm", f"difference [{level(summary)}]", "p", "won:lost", "Δm", "time"]
    if summary.few:
        columns.insert(2, "with few labels")
        note += f" With few labels: the mean over {', '.join(summary.few)}."
    return Table("Arms", columns, rows, note=note)


def metric_title(kind: str) -> str:
    """What a score of a kind of task is."""
    title: str = kind_of(kind).section.main_metric().title
    return title


def cost_table(summary: Summary) -> Table:
    """What so many seeds can show, and what each arm costs."""
    rows = []
    for name, arm in summary.arms.items():
        overall, cells = arm.overall, ["", ""]
        if overall is not None:
            needed = "" if overall.needed is None else f"{overall.needed:,}"
            cells = [number(overall.detectable, ".2f"), needed]
        cost = (f"{arm.train_seconds:.1f}", f"{arm.peak_memory_mb:,.0f}", f"{arm.epochs:.1f}")
        rows.append([name, *cells, *cost])
    note = (
        "Detectable: the smallest true difference that so many seeds find in 80 of 100 tries; "
        f"seeds: as many find one of {2 * summary.matters:g} points so often."
    )
    if summary.corrected > 1:
        note += f" Both with p corrected over {summary.corrected} arms, by its strictest step."
    columns = ("arm", "detectable", "seeds", "train seconds", "peak MiB", "epochs")
    return Table("Arms: power and cost", columns, rows, note=note, printed=False)


def task_table(summary: Summary, others: dict[str, ArmSummary]) -> Table:
    """Differences by task and arm."""
    rows = []
    for task in summary.kinds:
        for index, (name, arm) in enumerate(others.items()):
            gain = arm.tasks[task]
            rows.append(
                [
                    "" if index else task,
                    name,
                    points_of(gain),
                    number(gain.p, ".2g"),
                    number(gain.adjusted, ".2g"),
                    f"{gain.wins}:{gain.losses}",
                ]
            )
    note = "p (Holm) is corrected over the tasks of an arm."
    columns = ("task", "arm", f"difference [{level(summary)}]", "p", "p (Holm)", "won:lost")
    return Table("Differences by task", columns, rows, texts=2, note=note, printed=False)


def score_table(summary: Summary) -> Table:
    """Scores by task, a column an arm."""
    rows = []
    for task, kind in summary.kinds.items():
        cells = []
        for arm in summary.arms.values():
            reached = number(arm.reached.get(task, float("nan")), ".2f")
            cells.append(number(arm.scores[task], ".4f") + (f" ({reached})" if reached else ""))
        rows.append([task, metric_title(kind), f"{summary.labelled[task]:,.0f}", *cells])
    note = "In brackets: share of the reachable, from a constant (0) to an oracle (1)."
    columns = ("task", "score", "labels", *summary.arms)
    some = any(arm.reached for arm in summary.arms.values())
    return Table(
        "Scores", columns, rows, texts=2, note=note if some else "", printed=len(summary.arms) < 5
    )


def agreement_table(others: dict[str, ArmSummary]) -> Table:
    """Measured affinity against the planned relations, by arm and epoch."""
    rows = []
    for name, arm in others.items():
        for epoch, one in enumerate(arm.affinity):
            numbers = (one.spearman, one.first, one.precision, one.recall)
            cells = [number(value, ".2f") for value in numbers]
            rows.append(["" if epoch else name, str(epoch + 1), *cells])
    note = (
        "Spearman: rank correlation of measured affinity and planned relation over pairs of tasks; "
        "first: share of the tasks that rank their true best relative first; conflicts: pairs "
        "measured below the threshold, against pairs planned below it."
    )
    columns = ("arm", "epoch", "Spearman", "first", "conflict precision", "conflict recall")
    return Table("Affinity against the plan", columns, rows, texts=1, note=note)


def points_of(one: Difference) -> str:
    """A difference with its interval."""
    return with_interval(one.mean, one.low, one.high, 2)


def level(summary: Summary) -> str:
    """Of the intervals."""
    return f"{100 * summary.level:g} %"


def _forest(summary: Summary, others: dict[str, ArmSummary]) -> Figure:
    figure = Figure(figsize=(8, 1.4 + 0.36 * len(others)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=_NEITHER, linewidth=1)
    axes.axvspan(-summary.matters, summary.matters, color=_NEITHER, alpha=0.2, linewidth=0)
    for row, arm in enumerate(others.values()):
        overall = arm.overall
        assert overall is not None
        colour = {"helps": _HELPS, "hurts": _HURTS}.get(arm.word, _NEITHER)
        axes.plot([overall.low, overall.high], [row, row], color=colour, linewidth=2)
        axes.plot([overall.mean], [row], marker="o", color=colour)
    axes.set_yticks(range(len(others)), list(others))
    axes.invert_yaxis()
    axes.set_xlabel(
        f"points over '{summary.reference}', mean over tasks, {level(summary)} interval"
    )
    return figure


def _heatmaps(summary: Summary) -> Figure:
    """The planned relation, then every arm's measured affinity after its last epoch."""
    assert summary.planned is not None
    matrices = {"planned": summary.planned}
    matrices |= {n: arm.matrix for n, arm in summary.arms.items() if arm.matrix is not None}
    tasks, columns = list(summary.kinds), min(3, len(matrices))
    lines = -(-len(matrices) // columns)
    side = 1.6 + 0.36 * len(tasks)
    figure = Figure(figsize=(side * columns + 1, side * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in grid[len(matrices) :]:
        axes.remove()
    for axes, (name, matrix) in zip(grid, matrices.items(), strict=False):
        shown = matrix.copy()
        np.fill_diagonal(shown, np.nan)
        draw_heatmap(axes, shown, rows=tasks, columns=tasks, low=-1.0, palette="RdBu")
        axes.set_title(name)
    return figure
