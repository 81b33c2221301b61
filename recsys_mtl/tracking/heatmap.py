"""A matrix as colours with its numbers written in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable

_NOTHING = "#e4e4e4"


def draw_heatmap(
    axes: Axes,
    values: npt.NDArray[np.floating],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    low: float,
    palette: str,
) -> ScalarMappable:
    """Draw `values` (R, C) from `low` to 1; NaN stays grey.

    Args:
        axes: where.
        values: the matrix.
        rows: R names.
        columns: C names.
        low: value of the palette's first colour.
        palette: name of a matplotlib colour map.

    Returns:
        The image that a colour bar needs.
    """
    axes.set_facecolor(_NOTHING)
    image = axes.imshow(values, vmin=low, vmax=1.0, cmap=palette, aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    for row, column in np.argwhere(np.isfinite(values)):
        value = float(values[row, column])
        red, green, blue, _ = image.to_rgba(np.array([value]))[0]
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5  # perceived lightness
        colour = "white" if dark else "black"
        axes.text(column, row, f"{value:z.2f}", ha="center", va="center", color=colour, fontsize=7)
    return image
