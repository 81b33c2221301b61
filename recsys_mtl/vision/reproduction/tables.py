"""The tables of a reproduction's report, with the published numbers."""

from __future__ import annotations

import numpy as np

from recsys_mtl.metrics.differences import Difference
from recsys_mtl.reports.cells import number, with_interval
from recsys_mtl.reports.page import Table
from recsys_mtl.vision.reproduction.numbers import Spread
from recsys_mtl.vision.reproduction.plan import PublishedMethod, Reproduction, Value
from recsys_mtl.vision.reproduction.summary import ReproductionSummary

_NOTHING = PublishedMethod()


def losses(plan: Reproduction, summary: ReproductionSummary) -> Table:
    """Loss, rank and cost of every method."""
    published = plan.published.methods
    ranked = summary.ranked()
    ranked_by_paper = [name for name in paper_order(plan) if name in summary.methods]
    base = summary.methods[plan.reference].step_ms
    rows = [
        [
            name,
            plus_minus(method.loss, 4),
            as_published(published.get(name, _NOTHING).loss, 4),
            str(ranked.index(name) + 1),
            str(ranked_by_paper.index(name) + 1) if name in ranked_by_paper else "",
            f"{method.step_ms:.1f}",
            f"{method.step_ms / base:.2f}",
            f"{method.peak_memory_mb:,.0f}",
        ]
        for name, method in summary.methods.items()
    ]
    note = (
        "Loss: the sum of the tasks' losses by their fixed weights, on the test images after the "
        "last epoch; the paper does not define its loss. Mean ± standard deviation over "
        "runs. Rank: by loss. Ms: median of a step in the fastest run, as other work slows some; "
        f"×: over {plan.reference}'s (single tasks: all networks together). MiB: largest memory of "
        "the process, images included."
    )
    columns = ("method", "loss", "paper", "rank", "paper", "ms", "×", "MiB")
    return Table("Loss and cost", columns, rows, note=note)


def differences(plan: Reproduction, summary: ReproductionSummary) -> Table:
    """Loss saved against the reference and the second one."""
    columns = ["method", f"saved against {plan.reference} [95 %]", "p", "won:lost"]
    if plan.against not in (None, plan.reference):
        columns += [f"against {plan.against} [95 %]", "p", "won:lost"]
    note = (
        "Loss saved, above 0 the method is better: mean over pairs of the same seed and rerun "
        "(same images, initial weights and order) with its 95 % interval by Student's t; p of the "
        "paired t test, corrected over methods (Holm). Reruns of a seed share their images."
    )
    rows = [
        [name, *difference_cells(m.saved), *difference_cells(m.saved_against)][: len(columns)]
        for name, m in summary.methods.items()
    ]
    return Table("Paired differences", columns, rows, note=note, dense=True)


def accuracies(plan: Reproduction, summary: ReproductionSummary) -> Table:
    """Of every task, in percent."""
    columns = ["method"]
    for task in summary.tasks:
        columns += [task, "paper"]
    rows = []
    for name, method in summary.methods.items():
        published = plan.published.methods.get(name, _NOTHING).accuracy
        cells = [name]
        for task, accuracy in zip(summary.tasks, method.accuracy, strict=True):
            cells += [plus_minus(accuracy, 2), as_published(published.get(task), 2)]
        rows.append(cells)
    filled = [0, *(i for i in range(1, len(columns)) if any(row[i] for row in rows))]
    return Table(
        "Accuracy in percent",
        [columns[i] for i in filled],
        [[row[i] for i in filled] for row in rows],
        dense=True,
    )


def aurocs(plan: Reproduction, summary: ReproductionSummary) -> Table:
    """Area under the ROC curve of yes/no tasks."""
    rows = []
    for name, method in summary.methods.items():
        published = plan.published.methods.get(name, _NOTHING).auroc
        mean = [plus_minus(method.mean_auroc, 4), as_published(published, 4)]
        rows.append([name, *mean, *(plus_minus(one, 4) for one in method.auroc)])
    columns = ("method", "mean", "paper", *summary.tasks)
    return Table("Area under the ROC curve", columns, rows, dense=True)


def task_losses(summary: ReproductionSummary) -> Table:
    """Without weights."""
    rows = [
        [name, *(plus_minus(one, 4) for one in method.losses)]
        for name, method in summary.methods.items()
    ]
    return Table("Test loss of each task, unweighted", ("method", *summary.tasks), rows)


def steps(plan: Reproduction, summary: ReproductionSummary) -> Table:
    """Until the loss is below the threshold."""
    threshold = plan.threshold
    assert threshold is not None
    rows = []
    for name, method in summary.methods.items():
        mean = f"{np.mean(method.steps):.0f}" if method.steps else "—"
        published = plan.published.methods.get(name)
        paper = "" if published is None else "—"
        if published is not None and published.steps is not None:
            paper = f"{published.steps:.0f}"
        rows.append([name, mean, f"{len(method.steps)} of {method.loss.count}", paper])
    note = (
        f"Measured every {threshold.every} steps, up to step {threshold.limit}, on the same "
        f"{min(threshold.images, summary.images[1]):,} test images; the mean is over the runs that "
        "reached it, as in the paper. It reports neither how often it measured nor how many "
        "reached it."
    )
    title = f"Steps to a loss below {threshold.loss:g}"
    return Table(title, ("method", "steps", "runs that reached it", "paper"), rows, note=note)


def attentions(plan: Reproduction, summary: ReproductionSummary) -> Table:
    """Losses with an adaptive and a fixed coefficient."""
    rows = []
    for cell in summary.attention:
        row: list[str] = [cell.attention]
        published = plan.published.attention.get(cell.attention)
        for key in ("adaptive", "fixed"):
            value = getattr(published, key) if published else None
            row += [plus_minus(getattr(cell, key), 4), as_published(value, 4)]
        rows.append(row)
    columns = ("attention", "adaptive λ", "paper", "fixed λ", "paper")
    return Table("Attentions", columns, rows, note="Test loss, mean ± standard deviation.")


def adapting(summary: ReproductionSummary) -> Table:
    """What an adaptive coefficient saves."""
    rows = [[cell.attention, *difference_cells(cell.saved)] for cell in summary.attention]
    columns = ("attention", "loss saved by adapting [95 %]", "p", "won:lost")
    return Table("Adaptive against fixed", columns, rows, note="p is not corrected.")


def paper_order(plan: Reproduction) -> list[str]:
    """Methods by published loss, the lowest first."""
    known = {n: p.loss[0] for n, p in plan.published.methods.items() if p.loss is not None}
    return sorted(known, key=known.__getitem__)


def compared(summary: ReproductionSummary, name: str, other: str, gain: Difference) -> str:
    """A sentence on one comparison; p is corrected, 0.05 decides."""
    ratio = summary.methods[name].step_ms / summary.methods[other].step_ms
    known = np.isfinite(gain.adjusted)
    if not known:
        return f"{name} against {other}: too few pairs to compare."
    word = "no difference shown"
    if gain.adjusted < 0.05:
        word = "better" if gain.mean > 0 else "worse"
    return (
        f"{name} against {other}: {word}; loss saved {interval(gain)}, "
        f"p = {gain.adjusted:.2g} over {gain.pairs} pairs, at {ratio:.2f} times the time of a "
        "step."
    )


def plus_minus(spread: Spread, digits: int) -> str:
    """Mean ± standard deviation; empty where undefined."""
    return as_published([spread.mean, spread.sd], digits)


def as_published(value: Value | None, digits: int) -> str:
    """The same of a published number."""
    known = [one for one in value or () if np.isfinite(one)]
    precision = (digits, min(digits, 3))
    return " ± ".join(f"{one:.{d}f}" for one, d in zip(known, precision, strict=False))


def interval(gain: Difference) -> str:
    """Mean and interval."""
    return with_interval(gain.mean, gain.low, gain.high, 4)


def difference_cells(gain: Difference | None) -> list[str]:
    """Three cells; empty ones for the method itself."""
    if gain is None:
        return ["", "", ""]
    return [interval(gain), number(gain.adjusted, ".2g"), f"{gain.wins}:{gain.losses}"]
