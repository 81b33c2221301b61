from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from recsys_mtl.vision.celeba import load_celeba
from recsys_mtl.vision.reproduction import figures
from recsys_mtl.vision.reproduction.images import Images
from recsys_mtl.vision.reproduction.numbers import Spread
from recsys_mtl.vision.reproduction.plan import Reproduction
from recsys_mtl.vision.reproduction.summary import Point, summarize
from tests.vision.fake_celeba import write_celeba

Make = Callable[..., Reproduction]
Results = Callable[[Reproduction], list[dict[str, Any]]]


def test_curves_have_a_line_a_method(make: Make, results: Results) -> None:
    plan = make()
    methods = summarize(plan, results(plan)).methods
    (axes,) = figures.curves(methods).axes
    assert [line.get_label() for line in axes.lines] == ["sum", "pcgrad", "cagt"]
    np.testing.assert_allclose(axes.lines[2].get_ydata(), methods["cagt"].curve)


def test_the_sweep_is_a_grid_of_losses() -> None:
    points = [Point(t, c, Spread(10 * t + c, 0.0, 2)) for t in (0.6, 0.3) for c in (0.1, 0.2, 0.5)]
    axes, _ = figures.sweep(points).axes
    np.testing.assert_allclose(axes.images[0].get_array(), [[3.1, 3.2, 3.5], [6.1, 6.2, 6.5]])
    assert [text.get_text() for text in axes.texts][:2] == ["3.1000", "3.2000"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0.3", "0.6"]


def test_conflicts_are_by_block_and_epoch(make: Make, results: Results) -> None:
    plan = make()
    method = summarize(plan, results(plan)).methods["cagt"]
    (axes,) = figures.conflicts(method).axes
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.25, 0.25], [0.75, 0.75]])
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["convs.0.weight.0", "linear.weight.0"]


@pytest.mark.parametrize(
    ("layers", "blocks", "rows"), [(2, 3, 6), (3, 30, 3), (45, 2, 1)], ids=["all", "parts", "one"]
)
def test_many_blocks_are_brought_together(
    make: Make, results: Results, layers: int, blocks: int, rows: int
) -> None:
    plan = make()
    units = results(plan)
    names = [f"net.{layer}.weight.{b}" for layer in range(layers) for b in range(blocks)]
    shares = [layer / 100 for layer in range(layers) for _ in range(blocks)]
    for unit in units:
        unit["blocks"] = names
        for epoch in unit["epochs"]:
            epoch["conflicts"] = {"conflict_ratio": shares}
    (axes,) = figures.conflicts(summarize(plan, units).methods["cagt"]).axes
    shown = np.asarray(axes.images[0].get_array())
    assert shown.shape == (rows, 2)
    assert shown.mean() == pytest.approx(np.mean(shares))


def test_the_panel_shows_faces_as_people_see_them(tmp_path: Path) -> None:
    write_celeba(tmp_path)
    splits = load_celeba(tmp_path, attributes=("Male", "Smiling"), size=20)
    labels = [[0, 1, 1], [1, 0, 1]]
    shown = {"rows": [0, 2, 4], "true": labels, "predicted": labels}
    axes = figures.panel(shown, splits["valid"]).axes
    assert [one.get_title() for one in axes[:2]] == [
        "Male: no\nSmiling: yes",
        "Male: yes\nSmiling: no",
    ]
    expected = splits["valid"].pixels(torch.tensor([2])).squeeze(0).permute(1, 2, 0)
    np.testing.assert_array_equal(axes[1].images[0].get_array(), expected)


def test_the_panel_marks_what_is_wrong(make: Make, results: Results, images: Images) -> None:
    plan = make()
    shown = summarize(plan, results(plan)).methods["cagt"].shown
    axes = figures.panel(shown, images.test).axes
    titles = [one.get_title() for one in axes]
    assert titles[0] == "digit: 1\nrotation: 0\ncolour: cyan"
    assert titles[2] == "digit: 4\nrotation: 180\ncolour: yellow"
    assert titles[3:] == ["", "", ""]
    colours = [to_hex(one.title.get_color()) for one in axes[:3]]
    assert colours == ["#000000", "#000000", "#cc3311"]
