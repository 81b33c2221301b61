"""A reproduction's summary as a page: which claims hold, then tables and pictures."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from recsys_mtl.reports.page import Page, Picture, Table
from recsys_mtl.vision.reproduction import figures, tables
from recsys_mtl.vision.reproduction.images import Images
from recsys_mtl.vision.reproduction.plan import Reproduction
from recsys_mtl.vision.reproduction.summary import ReproductionSummary

_LARGE = 64  # pixels of an edge, from which there is no panel
_CONFLICTS = (
    "Conflicts, below: gradients without any relation conflict in half of the pairs; a block of "
    "units that have died has no gradient and none in conflict."
)


def make_page(plan: Reproduction, summary: ReproductionSummary, images: Images) -> Page:
    """The full report.

    Args:
        plan: with the published numbers.
        summary: of all runs.
        images: of the first seed, for the panel.
    """
    parts: list[str | Table | Picture] = [
        _head(plan, summary), *_left_out(summary), *_sentences(plan, summary),
        tables.losses(plan, summary), tables.differences(plan, summary),
    ]  # fmt: skip
    if np.isfinite(next(iter(summary.methods.values())).mean_auroc.mean):
        parts.append(tables.aurocs(plan, summary))
    parts += [tables.accuracies(plan, summary), tables.task_losses(summary)]
    if plan.threshold is not None:
        parts.append(tables.steps(plan, summary))
    if summary.attention:
        parts += [tables.attentions(plan, summary), tables.adapting(summary)]
    return Page(f"Reproduction {plan.name}", [*parts, *_pictures(plan, summary, images)])


def _head(plan: Reproduction, summary: ReproductionSummary) -> str:
    train, test, channels, high, wide = summary.images
    training, weights = plan.training, plan.weights
    by_task = ", ".join(f"{task} {weights.get(task, 1.0):g}" for task in summary.tasks)
    return (
        f"{len(summary.methods)} methods on {summary.source}: {train:,} images to train on, "
        f"{test:,} to test, {high} × {wide} pixels, {channels} channels. Weights of the tasks' "
        f"losses: {by_task}. {plan.seeds.count} seeds × {plan.reruns} reruns, "
        f"{training.epochs} epochs of batches of {training.batch_size}, AdamW at "
        f"{training.learning_rate:g}, weight decay {training.weight_decay:g}, the same for all; "
        f"computed on: {summary.device}."
    )


def _left_out(summary: ReproductionSummary) -> Iterator[str]:
    for split, images in summary.left_out.items():
        if images.absent:
            absent = f"{images.absent:,} of {images.listed:,} listed {split} images"
            yield f"{absent} have no file and are left out (only_present)."
        if images.broken:
            yield f"Left out of the {split} images: {images.broken_text}."


def _sentences(plan: Reproduction, summary: ReproductionSummary) -> Iterator[str]:
    for name, method in summary.methods.items():
        if method.saved is not None:
            yield tables.compared(summary, name, plan.reference, method.saved)
    published = [name for name in tables.paper_order(plan) if name in summary.methods]
    if len(published) > 1:
        yield _order(published, [name for name in summary.ranked() if name in published])
    if summary.sweep:
        yield _sweep(plan, summary)
    skipped = {name: method.skipped for name, method in summary.methods.items() if method.skipped}
    runs = plan.seeds.count * plan.reruns
    for name, method in summary.methods.items():
        if method.loss.count < runs:
            left = runs - method.loss.count
            yield f"{name}: {left} of {runs} runs ended without a finite loss and are in no mean."
    if skipped:
        counts = ", ".join(f"{name} {count}" for name, count in skipped.items())
        yield f"Steps that were skipped, as their gradients had no finite answer: {counts}."


def _order(published: list[str], measured: list[str]) -> str:
    """Whether the paper's ranks hold."""
    pairs = list(combinations(published, 2))
    kept = sum(measured.index(a) < measured.index(b) for a, b in pairs)
    holds = "holds" if kept == len(pairs) else "does not hold"
    return (
        f"The paper's order of losses {holds}: it has {' < '.join(published)}; here it is "
        f"{' < '.join(measured)} ({kept} of {len(pairs)} pairs in the same order)."
    )


def _sweep(plan: Reproduction, summary: ReproductionSummary) -> str:
    assert plan.sweep is not None
    ranked = sorted(summary.sweep, key=lambda point: point.loss.mean)
    best, worst = ranked[0], ranked[-1]
    sds = [point.loss.sd for point in ranked if np.isfinite(point.loss.sd)]
    noise = ""
    if sds:
        noise = f"; runs of one point differ by a standard deviation of {np.mean(sds):.4f}"
    published = [f"{name} τ = {v[0]:g}, λ = {v[1]:g}" for name in ("best", "worst")
            if (v := getattr(plan.published, name))]  # fmt: skip
    return (
        f"Sweep of {plan.sweep.over} ({plan.sweep.epochs} epochs a run): best at "
        f"τ = {best.temperature:g}, λ = {best.coefficient:g} ({best.loss.mean:.4f}), worst at "
        f"τ = {worst.temperature:g}, λ = {worst.coefficient:g} ({worst.loss.mean:.4f})"
        f"{noise}. The paper: {'; '.join(published) or 'no sweep'}."
    )


def _pictures(
    plan: Reproduction, summary: ReproductionSummary, images: Images
) -> Iterator[str | Picture]:
    yield Picture("Train loss", "train_loss", figures.curves(summary.methods))
    if summary.sweep:
        yield Picture("Loss by temperature and coefficient", "sweep", figures.sweep(summary.sweep))
    candidates = [plan.against, *summary.methods]
    combined = [n for n in candidates if n and summary.methods[n].conflicts is not None]
    if combined:
        title = f"Share of task pairs in conflict by block and epoch, {combined[0]}"
        yield _CONFLICTS
        figure = figures.conflicts(summary.methods[combined[0]])
        yield Picture(title, "conflicts", figure)
    if max(summary.images[3:]) < _LARGE:
        name = plan.against or plan.reference
        shown = summary.methods[name].shown
        title = f"Predictions of {name} on random test images, seed {plan.seeds.first}"
        yield Picture(title, "predictions", figures.panel(shown, images.test))
