from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from recsys_mtl.tracking.plots import (
    borrowing,
    calibration,
    conflicts,
    gate_use,
    loss_curves,
    transfer,
)
from tests.marks import slow_except

TASKS = [f"task_{i}" for i in range(16)]


def is_png(figure: Figure) -> bool:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue().startswith(b"\x89PNG") and len(file.getvalue()) > 2000


@pytest.mark.parametrize("count", slow_except([1, 3], [1, 3, 16]))
def test_loss_curves_have_a_panel_a_task(count: int) -> None:
    train = {task: [0.5, 0.25, float("nan")] for task in TASKS[:count]}
    figure = loss_curves(train, {TASKS[0]: [0.75, 0.5, 0.25]})
    assert [axes.get_title() for axes in figure.axes] == TASKS[:count]
    lines = figure.axes[0].get_lines()
    assert [line.get_label() for line in lines] == ["train", "valid"]
    np.testing.assert_array_equal(lines[1].get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(lines[1].get_ydata(), [0.75, 0.5, 0.25])
    assert is_png(figure)


def test_calibration_leaves_out_empty_bins() -> None:
    figure = calibration({"visit": ([0.1, 0.2, 0.3], [0.15, 0.0, 0.35], [5, 0, 10])})
    _, curve = figure.axes[0].get_lines()
    np.testing.assert_array_equal(curve.get_xdata(), [0.1, 0.3])
    np.testing.assert_array_equal(curve.get_ydata(), [0.15, 0.35])
    assert figure.axes[0].get_xlim()[1] == pytest.approx(0.378)
    assert is_png(figure)


def test_calibration_leaves_out_what_is_no_number() -> None:
    figure = calibration({"visit": ([0.1, float("nan")], [0.15, 0.2], [5, 3])})
    assert is_png(figure)


def test_calibration_of_a_set_without_rows() -> None:
    assert is_png(calibration({"visit": ([], [], [])}))
    assert is_png(calibration({}))


def test_gate_use_is_tasks_by_experts() -> None:
    figure = gate_use({"a": {"a.0": 0.25, "shared.0": 0.75}, "b": {"b.0": 0.5, "shared.0": 0.5}})
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["shared.0", "a.0", "b.0"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b"]
    shown = np.ma.filled(axes.get_images()[0].get_array(), np.nan)
    np.testing.assert_array_equal(shown, [[0.75, 0.25, np.nan], [0.5, np.nan, 0.5]])
    assert sorted(text.get_text() for text in axes.texts) == ["0.25", "0.50", "0.50", "0.75"]
    assert is_png(figure)


@pytest.mark.parametrize("count", slow_except([2], [2, 16]))
def test_transfer_shows_both_matrices_without_their_diagonals(count: int) -> None:
    affinity = np.linspace(-1, 1, count * count).reshape(count, count)
    figure = transfer(TASKS[:count], affinity, np.abs(affinity))
    panels = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert list(panels) == ["affinity", "transfer weights"]
    for axes, matrix in zip(panels.values(), (affinity, np.abs(affinity)), strict=True):
        shown = np.ma.filled(axes.get_images()[0].get_array().astype(float), np.nan)
        off = ~np.eye(count, dtype=bool)
        np.testing.assert_array_equal(shown[off], matrix[off])
        assert np.isnan(shown[~off]).all()
    assert is_png(figure)


def test_borrowing_shows_each_pair_by_epoch() -> None:
    epochs = [{}, {"task_1": {"task_0": 0.5}}, {"task_1": {"task_0": 0.25, "task_2": 0.75}}]
    figure = borrowing(TASKS[:3], np.eye(3), epochs)
    panels = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert list(panels) == ["affinity", "who borrowed from whom, by epoch"]
    axes = panels["who borrowed from whom, by epoch"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "3"]
    pairs = ["task_1 from task_0", "task_1 from task_2"]
    assert [label.get_text() for label in axes.get_yticklabels()] == pairs
    shown = np.ma.filled(axes.get_images()[0].get_array().astype(float), np.nan)
    np.testing.assert_array_equal(shown, [[np.nan, 0.5, 0.25], [np.nan, np.nan, 0.75]])
    assert is_png(figure)


def test_a_run_in_which_nobody_borrowed_shows_no_weights() -> None:
    figure = borrowing(TASKS[:2], np.zeros((2, 2)), [{}, {}])
    assert [axes.get_title() for axes in figure.axes[:2]] == ["affinity", "nobody borrowed"]
    assert is_png(figure)


def numbers_of(tasks: list[str], ratio: dict[str, float | None]) -> dict[str, Any]:
    """As `Conflicts.described`, with a different cosine in every cell."""
    count = len(tasks)
    values = iter(np.linspace(-1, 1, (len(ratio) + count) * count).tolist())
    return {
        "conflict_ratio": ratio,
        "task_cosine": {block: {task: next(values) for task in tasks} for block in ratio},
        "pair_cosine": [
            [None if i == j else next(values) for j in range(count)] for i in range(count)
        ],
    }


def shown_in(figure: Figure) -> list[tuple[list[str], list[str], np.ndarray]]:
    """Rows, columns and values of both heatmaps."""
    panels = [axes for axes in figure.axes if axes.get_title()]
    return [
        (
            [tick.get_text() for tick in axes.get_yticklabels()],
            [tick.get_text() for tick in axes.get_xticklabels()],
            np.ma.filled(axes.get_images()[0].get_array().astype(float), np.nan),
        )
        for axes in panels
    ]


def test_conflicts_shows_blocks_by_tasks_and_pairs() -> None:
    tasks = ["click", "buy", "spend"]
    numbers = numbers_of(tasks, {"shared.0": 0.25, "embeddings": 1.0})
    numbers["task_cosine"]["shared.0"]["buy"] = None
    figure = conflicts(tasks, numbers)
    (rows, columns, by_block), (left, under, pairs) = shown_in(figure)
    assert rows == ["shared.0 (25%)", "embeddings (100%)"]
    assert left == under == columns == tasks
    expected = [[numbers["task_cosine"][b][t] for t in tasks] for b in ("shared.0", "embeddings")]
    np.testing.assert_array_equal(by_block, np.array(expected, dtype=np.float64))
    assert np.isnan(by_block[0, 1])
    np.testing.assert_array_equal(pairs, np.array(numbers["pair_cosine"], dtype=np.float64))
    assert np.isnan(pairs.diagonal()).all()
    assert is_png(figure)


def test_conflicts_shows_the_worst_of_many_blocks_in_their_order() -> None:
    ratio = {f"block {i}": (i * 7 % 10) / 10 for i in range(10)} | {"unknown": None}
    figure = conflicts(["a", "b"], numbers_of(["a", "b"], ratio), most=3)
    (rows, _, values), _ = shown_in(figure)
    assert rows == ["block 1 (70%)", "block 4 (80%)", "block 7 (90%)"]
    assert values.shape == (3, 2)


@pytest.mark.parametrize(("tasks", "blocks"), [(2, 1), pytest.param(5, 12, marks=pytest.mark.slow)])
def test_conflicts_has_space_for_long_names(tasks: int, blocks: int) -> None:
    """Without enough space, matplotlib warns."""
    names = [f"a_task_with_a_rather_long_name_of_its_own_{i}" for i in range(tasks)]
    ratio = {f"0.shared_experts.mlp.weights.1.{i}": i / 100 for i in range(blocks)}
    assert is_png(conflicts(names, numbers_of(names, ratio)))
