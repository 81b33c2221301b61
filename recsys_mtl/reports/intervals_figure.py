"""Pictures of estimates with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Entry = tuple[str, float | None, float | None, float | None]
"""Name, estimate, lower and upper end; None where it is not known."""


def intervals_of(entries: Sequence[Entry], *, title: str, zero: bool) -> Figure:
    """A forest plot: a line an entry, from the top; `zero` marks no effect.

    Entries without an estimate keep their line, empty.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1.2 + 0.3 * len(entries)), layout="constrained")
    axes = figure.subplots()
    for row, (_, value, low, high) in enumerate(entries):
        if value is None:
            continue
        if low is not None and high is not None:
            axes.plot([low, high], [row, row], color="tab:blue", linewidth=2)
        axes.plot([value], [row], color="tab:blue", marker="o")
    if zero:
        axes.axvline(0.0, color="gray", linewidth=1)
    axes.set_yticks(range(len(entries)), [name for name, *_ in entries])
    axes.set_ylim(len(entries) - 0.5, -0.5)
    axes.set_title(title, fontsize="medium")
    axes.grid(axis="x", alpha=0.3)
    # A notebook shows it: of its own accord it knows the figures of pyplot alone
    vars(figure)["_repr_png_"] = partial(_png, figure)
    return figure


def _png(figure: Figure) -> bytes:
    picture = BytesIO()
    figure.savefig(picture, dpi=90)
    return picture.getvalue()
