"""The pictures of a reproduction's report.

Shapes: E epochs, K blocks, M images of the panel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from recsys_mtl.metrics.weighing import Floats
from recsys_mtl.tracking.heatmap import draw_heatmap
from recsys_mtl.vision.images import ImageSplit
from recsys_mtl.vision.reproduction.methods import MethodSummary
from recsys_mtl.vision.reproduction.summary import Point

_MOST_ROWS = 40
_COLUMNS = 6
_WRONG = "#cc3311"


def curves(methods: Mapping[str, MethodSummary]) -> Figure:
    """Train loss over epochs, one line a method."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for name, method in methods.items():
        epochs = range(1, len(method.curve) + 1)
        axes.plot(epochs, method.curve, marker="o", label=name)
        axes.set_xticks(epochs)
    axes.set_xlabel("epoch")
    axes.set_ylabel("train loss, mean over runs")
    axes.legend()
    return figure


def sweep(points: Sequence[Point]) -> Figure:
    """Loss by temperature and coefficient."""
    temperatures = sorted({point.temperature for point in points})
    coefficients = sorted({point.coefficient for point in points})
    grid = np.full((len(temperatures), len(coefficients)), np.nan)
    for point in points:
        at = temperatures.index(point.temperature), coefficients.index(point.coefficient)
        grid[at] = point.loss.mean
    size = (2 + 1.1 * len(coefficients), 1.6 + 0.6 * len(temperatures))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(grid, cmap="viridis_r", aspect="auto")
    middle = (np.nanmin(grid) + np.nanmax(grid)) / 2
    for (row, column), value in np.ndenumerate(grid):
        colour = "white" if value > middle else "black"
        axes.text(column, row, f"{value:.4f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(coefficients)), [f"{value:g}" for value in coefficients])
    axes.set_yticks(range(len(temperatures)), [f"{value:g}" for value in temperatures])
    axes.set_xlabel("coefficient λ")
    axes.set_ylabel("temperature τ")
    figure.colorbar(image, ax=axes, label="test loss")
    return figure


def conflicts(method: MethodSummary) -> Figure:
    """Share of task pairs in conflict, by block and epoch."""
    assert method.conflicts is not None
    names, shares = _few_rows(method.blocks, method.conflicts.T)
    epochs = [str(epoch + 1) for epoch in range(shares.shape[1])]
    size = (2.5 + 0.5 * len(epochs), 1.5 + 0.22 * len(names))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    draw_heatmap(axes, shares, rows=names, columns=epochs, low=0.0, palette="magma_r")
    axes.set_xlabel("epoch")
    return figure


def _few_rows(names: Sequence[str], shares: Floats) -> tuple[list[str], Floats]:
    """(K, E) shares and their names; where those are too many, means over blocks of a layer."""
    for pattern in (r"$", r"[.#]\d+$", r"\..*$"):  # blocks, the parts where they begin, layers
        keys = [re.sub(pattern, "", name) for name in names]
        known = list(dict.fromkeys(keys))
        if len(known) <= _MOST_ROWS:
            break
    rows = [shares[[key == one for key in keys]].mean(axis=0) for one in known]
    return known, np.array(rows)


def panel(shown: Mapping[str, Any], split: ImageSplit) -> Figure:
    """Random test images with a network's predictions; red where any is wrong."""
    images = split.pixels(torch.tensor(shown["rows"]))
    lines = -(-len(images) // _COLUMNS)
    height = 1.7 + 0.16 * len(split.tasks)
    figure = Figure(figsize=(1.7 * _COLUMNS, height * lines), layout="constrained")
    grid = figure.subplots(lines, _COLUMNS, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    truths, answers = (np.array(shown[key]).T for key in ("true", "predicted"))  # (M, T)
    for axes, image, true, answer in zip(grid, images, truths, answers, strict=False):
        axes.imshow(image.permute(1, 2, 0).numpy())
        words = [
            f"{task.name}: {task.labels[label]}"
            for task, label in zip(split.tasks, answer, strict=True)
        ]
        colour = "black" if (true == answer).all() else _WRONG
        axes.set_title("\n".join(words), fontsize=8, color=colour)
    return figure
