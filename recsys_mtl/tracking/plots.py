"""The figures of a run: losses, calibration and gate use, one panel or row a task.

Figures are made without pyplot: nothing global is touched and no display is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from recsys_mtl.tracking.heatmap import draw_heatmap

Numbers = Sequence[float] | npt.NDArray[np.floating]

_TRAIN, _VALID, _GUIDE = "#4477aa", "#ee6677", "#999999"


def loss_curves(
    train: Mapping[str, Sequence[float]], valid: Mapping[str, Sequence[float]]
) -> Figure:
    """Mean loss of each task by epoch (from 1), training and validation in one panel a task.

    Args:
        train: task -> one value an epoch; NaN where undefined.
        valid: likewise, of the same tasks or of some.
    """
    figure, panels = _panels(list(train), "epoch", "loss")
    for task, axes in panels.items():
        for name, values, colour in (
            ("train", train[task], _TRAIN),
            ("valid", valid.get(task, ()), _VALID),
        ):
            epochs = np.arange(1, len(values) + 1)
            if len(values):
                axes.plot(epochs, values, marker=".", color=colour, label=name)
        axes.set_xlim(0.5, max(len(train[task]), 1) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    _legend(figure, panels)
    return figure


def calibration(curves: Mapping[str, tuple[Numbers, Numbers, Numbers]]) -> Figure:
    """Reliability diagram of each binary task: the diagonal is perfect.

    Args:
        curves: task -> (mean prediction, share of positives, rows) of each bin; empty bins and
            predictions that are not finite are left out. Points are larger where rows are many.
    """
    figure, panels = _panels(list(curves), "predicted", "observed")
    for task, axes in panels.items():
        predicted, observed, rows = (np.asarray(v, dtype=np.float64) for v in curves[task])
        used = (rows > 0) & np.isfinite(predicted)
        shown = np.concatenate([predicted[used], observed[used], [1e-6]])
        limit = 1.08 * float(shown.max())
        axes.plot([0, limit], [0, limit], color=_GUIDE, linestyle="--", linewidth=1)
        axes.plot(predicted[used], observed[used], color=_TRAIN, linewidth=1)
        size = 8 + 60 * rows[used] / max(float(rows.max(initial=1.0)), 1.0)
        axes.scatter(predicted[used], observed[used], s=size, color=_TRAIN, alpha=0.8)
        axes.set_xlim(0, limit)
        axes.set_ylim(0, limit)
        axes.locator_params(nbins=5)
    return figure


def gate_use(gates: Mapping[str, Mapping[str, float]]) -> Figure:
    """Heatmap of mean gate weights, tasks by experts; grey where a task's gate lacks an expert.

    Args:
        gates: task -> expert (`shared.0`, `ctr.1`) -> mean weight; not empty.
    """
    tasks = list(gates)
    seen = dict.fromkeys(expert for weights in gates.values() for expert in weights)
    experts = sorted(seen, key=lambda name: not name.startswith("shared"))
    weights = np.array([[gates[t].get(e, np.nan) for e in experts] for t in tasks])
    longest = max(len(name) for name in tasks)
    size = 2.4 + 0.08 * longest + 0.46 * len(experts), 1.6 + 0.34 * len(tasks)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    image = draw_heatmap(axes, weights, rows=tasks, columns=experts, low=0.0, palette="viridis")
    figure.colorbar(image, ax=axes, label="mean gate weight")
    return figure


def transfer(
    tasks: Sequence[str],
    affinity: npt.NDArray[np.floating],
    weights: npt.NDArray[np.floating],
) -> Figure:
    """Heatmaps of adaTT's affinity (symmetric) and transfer weights (row: receiver).

    Args:
        tasks: T names.
        affinity: (T, T) from -1 to 1.
        weights: (T, T) from 0 to 1.
    """
    figure, axes = _affinity(tasks, affinity)
    shown = np.where(np.eye(len(tasks), dtype=bool), np.nan, weights)
    image = draw_heatmap(axes, shown, rows=tasks, columns=tasks, low=0.0, palette="viridis")
    axes.set_title("transfer weights")
    figure.colorbar(image, ax=axes, shrink=0.7)
    return figure


def borrowing(
    tasks: Sequence[str],
    affinity: npt.NDArray[np.floating],
    epochs: Sequence[Mapping[str, Mapping[str, float]]],
) -> Figure:
    """Heatmaps of adaTT's affinity, and of the weight that each pair borrowed with in each epoch.

    Args:
        tasks: T names.
        affinity: (T, T) from -1 to 1.
        epochs: receiver -> donor -> weight, one an epoch.
    """
    by_pair = [{(r, d): w for r, lent in one.items() for d, w in lent.items()} for one in epochs]
    pairs = sorted({pair for one in by_pair for pair in one})
    figure, axes = _affinity(tasks, affinity)
    if not pairs:
        axes.set_axis_off()
        axes.set_title("nobody borrowed")
        return figure
    weights = np.array([[one.get(pair, np.nan) for one in by_pair] for pair in pairs])
    names = [f"{receiver} from {donor}" for receiver, donor in pairs]
    numbers = [str(epoch + 1) for epoch in range(len(epochs))]
    image = draw_heatmap(axes, weights, rows=names, columns=numbers, low=0.0, palette="viridis")
    axes.set_title("who borrowed from whom, by epoch")
    figure.colorbar(image, ax=axes, shrink=0.7)
    return figure


def _affinity(tasks: Sequence[str], affinity: npt.NDArray[np.floating]) -> tuple[Figure, Axes]:
    """A figure with the heatmap of the affinity, and an empty panel right of it."""
    size = 2.2 + 0.42 * len(tasks)
    figure = Figure(figsize=(2 * size + 1, size), layout="constrained")
    left, right = figure.subplots(1, 2)
    shown = np.where(np.eye(len(tasks), dtype=bool), np.nan, affinity)
    image = draw_heatmap(left, shown, rows=tasks, columns=tasks, low=-1.0, palette="RdBu")
    left.set_title("affinity")
    figure.colorbar(image, ax=left, shrink=0.7)
    return figure, right


def conflicts(tasks: Sequence[str], numbers: Mapping[str, Any], most: int = 40) -> Figure:
    """Heatmaps of mean cosines: of each task with the others by block, and of each pair of tasks.

    Args:
        tasks: T names.
        numbers: see `Conflicts.described`.
        most: number of blocks that are shown, those with the largest share of conflicts.
    """
    ratio = {name: value for name, value in numbers["conflict_ratio"].items() if value is not None}
    worst = sorted(ratio, key=lambda name: -ratio[name])[:most]
    blocks = [name for name in ratio if name in set(worst)]
    by_block = [[numbers["task_cosine"][block][task] for task in tasks] for block in blocks]
    rows = [f"{block} ({ratio[block]:.0%})" for block in blocks]
    longest, longest_row = (max(map(len, names), default=0) for names in (tasks, rows))
    height = 1.6 + 0.32 * max(len(blocks), len(tasks)) + 0.08 * longest
    width = 4.6 + 0.92 * len(tasks) + 0.08 * (longest + longest_row)
    figure = Figure(figsize=(width, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, names, values, title in (
        (left, rows, by_block, "with the others, by block (share of conflicts)"),
        (right, tasks, numbers["pair_cosine"], "of pairs, over all blocks"),
    ):
        matrix = np.array(values, dtype=np.float64).reshape(len(names), len(tasks))
        draw = draw_heatmap(axes, matrix, rows=names, columns=tasks, low=-1.0, palette="RdBu")
        axes.set_title(title, fontsize=10)
    figure.suptitle("cosines of the tasks' gradients")
    figure.colorbar(draw, ax=[left, right], shrink=0.7)
    return figure


def _panels(tasks: list[str], x: str, y: str) -> tuple[Figure, dict[str, Axes]]:
    """A grid of panels, four a row at most, one a task."""
    columns = min(4, max(1, len(tasks)))
    rows = max(1, -(-len(tasks) // columns))
    figure = Figure(figsize=(3.2 * columns + 0.4, 2.5 * rows + 0.6), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(tasks) :]:
        axes.remove()
    panels = dict(zip(tasks, grid, strict=False))
    for task, axes in panels.items():
        axes.set_title(task if len(task) <= 32 else task[:31] + "…", fontsize=10)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
    figure.supxlabel(x)
    figure.supylabel(y)
    return figure, panels


def _legend(figure: Figure, panels: Mapping[str, Axes]) -> None:
    """One legend for all panels, above them."""
    for axes in list(panels.values())[:1]:
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))
