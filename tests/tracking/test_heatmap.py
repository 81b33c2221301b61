from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from recsys_mtl.tracking.heatmap import draw_heatmap


def test_numbers_are_written_where_they_are_and_readable() -> None:
    axes = Figure().subplots()
    values = np.array([[-1.0, 0.0, np.nan], [-0.001, 1.0, 0.25]])
    draw_heatmap(axes, values, rows=["a", "b"], columns=["x", "y", "z"], low=-1.0, palette="RdBu")
    shown = {tuple(map(int, t.get_position())): (t.get_text(), t.get_color()) for t in axes.texts}
    assert shown == {
        (0, 0): ("-1.00", "white"),  # dark red
        (1, 0): ("0.00", "black"),
        (0, 1): ("0.00", "black"),  # no minus zero
        (1, 1): ("1.00", "white"),
        (2, 1): ("0.25", "black"),
    }
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["x", "y", "z"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b"]
