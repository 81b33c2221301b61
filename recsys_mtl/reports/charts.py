"""Ready-made charts of a page: lines, bars with intervals, points, heat maps, distributions.

Each returns a `Figure` for a `Section`; what they do not offer, `recsys_mtl.reports.svg.Chart`
draws element by element.

Shapes: R rows and C columns of a matrix.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recsys_mtl.reports.axis import Axis
from recsys_mtl.reports.document import Figure
from recsys_mtl.reports.svg import SERIES, Chart, Point

Row = tuple[str, float | None, float | None, float | None]
"""Name, value, lower and upper end of its interval; None where it is not known."""
_LINE, _NAMES = 24, 54
_CELL, _LARGEST_MATRIX = 34, 40


@dataclass(frozen=True)
class Spot:
    """A named point of a scatter plot.

    Attributes:
        name: written next to it; empty: none.
        x: its position.
        y: its position.
        low: of the interval of y; None: none.
        high: likewise.
        series: its look, from 0.
    """

    name: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None
    series: int = 0


def lines(
    title: str,
    description: str,
    series: Mapping[str, Sequence[Point]],
    *,
    x: str,
    y: str,
    whole: bool = False,
    marked: bool = True,
    guide: tuple[float, str] | None = None,
    names: Sequence[str] = (),
) -> Figure:
    """A line a series through its points; at most `SERIES` of them look different.

    Args:
        title: of the chart.
        description: in a sentence or two, what is to be seen.
        series: by name.
        x: label of the x axis.
        y: label of the y axis.
        whole: whether x is a whole number, such as an epoch or a trial.
        marked: whether each point has a mark.
        guide: an x, and the text at a thin line there.
        names: of the x 0, 1, …, instead of numbers.
    """
    points = [point for own in series.values() for point in own]
    across = Axis.over([p[0] for p in points], x)
    if whole:
        numbers = [p[0] for p in points] or [0.0]
        across = Axis(min(numbers) - 0.5, max(numbers) + 0.5, x, whole=True)
    if names:
        across = Axis.of(names, x)
    chart = Chart(title, description, across, Axis.over([p[1] for p in points], y))
    if guide is not None:
        chart.guide((guide[0], chart.y.low), (guide[0], chart.y.high), guide[1])
    for number, own in enumerate(series.values()):
        chart.line(own, number, marked=marked)
    return Figure(chart, [*series] if len(series) > 1 else ())


def bars(
    title: str,
    description: str,
    rows: Sequence[Row],
    *,
    label: str,
    percent: bool = False,
    guides: Sequence[float] = (),
    most: float = math.inf,
) -> Figure:
    """Horizontal bars from 0, one a row from the top, with their intervals.

    Args:
        title: of the chart.
        description: of it.
        rows: those without a value stay empty.
        label: of the numbers.
        percent: whether they are shares.
        guides: values with a thin line.
        most: longer bars end here.
    """
    numbers = [v for row in rows for v in row[1:] if v is not None]
    names = [name if value is not None else f"{name} (–)" for name, value, *_ in rows]
    axis = _from_zero([min(v, most) for v in (*numbers, *guides)], label, percent=percent)
    chart = Chart(title, description, axis, Axis.of(names), height=_NAMES + _LINE * len(rows))
    for at in guides:
        chart.guide((at, -0.5), (at, len(rows) - 0.5))
    for row, (name, value, low, high) in enumerate(rows):
        if value is None:
            continue
        known = low is not None and high is not None
        ends = f" [{low:.4g}, {high:.4g}]" if known else ""
        chart.row_bar(row, 0.55, min(value, most), text=f"{name}: {value:.4g}{ends}")
        if low is not None and high is not None:
            chart.span((low, row), (high, row), SERIES - 1)
            for end in (low, high):
                chart.span((end, row - 0.18), (end, row + 0.18), SERIES - 1)
            chart.marks([(value, row)], SERIES - 1, size=2.2)
    return Figure(chart)


def then_and_now(
    title: str,
    description: str,
    rows: Sequence[tuple[str, float, float]],
    *,
    label: str,
    names: tuple[str, str] = ("then", "now"),
    percent: bool = True,
) -> Figure:
    """Two bars a row: hollow and dashed before, filled now.

    Args:
        title: of the chart.
        description: of it.
        rows: name, value then, value now.
        label: of the numbers.
        names: of both.
        percent: whether they are shares.
    """
    axis = _from_zero([v for row in rows for v in row[1:]], label, percent=percent)
    across = Axis.of([name for name, *_ in rows])
    chart = Chart(title, description, axis, across, height=_NAMES + _LINE * len(rows))
    for row, (name, then, now) in enumerate(rows):
        texts = (f"{name}, {names[0]}: {then:.4g}", f"{name}, {names[1]}: {now:.4g}")
        chart.row_bar(row - 0.2, 0.34, then, 1, hollow=True, text=texts[0])
        chart.row_bar(row + 0.2, 0.34, now, 0, text=texts[1])
    both = f"{names[0]}: the upper, dashed bar; {names[1]}: the lower, filled one."
    chart.description = f"{description} {both}".strip()
    return Figure(chart)


def scatter(
    title: str,
    description: str,
    spots: Sequence[Spot],
    *,
    x: str,
    y: str,
    names: Sequence[str] = (),
    line: Sequence[Point] = (),
    level: float | None = None,
) -> Figure:
    """Points with their names, and intervals of y.

    Args:
        title: of the chart.
        description: of it.
        spots: the points.
        x: label of the x axis.
        y: label of the y axis.
        names: of the series, for a legend.
        line: points that a thin line joins, such as a Pareto front.
        level: a y with a thin line.
    """
    heights = [v for s in spots for v in (s.y, s.low, s.high) if v is not None]
    heights += [] if level is None else [level]
    chart = Chart(title, description, Axis.over([s.x for s in spots], x), Axis.over(heights, y))
    if level is not None:
        chart.guide((chart.x.low, level), (chart.x.high, level))
    if line:
        chart.line(line, SERIES - 1)
    for spot in spots:
        if spot.low is not None and spot.high is not None:
            chart.span((spot.x, spot.low), (spot.x, spot.high), spot.series)
    used: list[float] = []
    unit = (chart.y.high - chart.y.low) / 20  # the height of a text
    for spot in sorted(spots, key=lambda s: -s.y):
        text = f"{spot.name}: {spot.x:.4g}, {spot.y:.4g}".removeprefix(": ")
        chart.marks([(spot.x, spot.y)], spot.series, size=5, text=text)
        if spot.name and math.isfinite(spot.y):
            at = spot.y
            while any(abs(at - other) < unit for other in used):
                at -= unit / 2
            used.append(at)
            chart.label((spot.x, at), spot.name)
    return Figure(chart, names)


def heat_map(
    title: str,
    description: str,
    values: Sequence[Sequence[float]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    high: float = 1.0,
    hundredths: bool = False,
) -> Figure:
    """A matrix as squares with their numbers; NaN stays empty.

    Positive numbers have the first colour and negative ones the second: each number has its sign.

    Args:
        title: of the chart.
        description: of it.
        values: (R, C).
        rows: names from the top.
        columns: names from the left.
        high: the size of a number with the full colour.
        hundredths: whether 0.25 is written as 25; of large matrices always.
    """
    large = len(columns) > _LARGEST_MATRIX // 3
    chart = Chart(title, description, Axis.of(columns), Axis.of(rows), grid=False)
    cell = _CELL if large else max(_CELL, min(64, 380 // max(len(columns), 1)))
    # The first size only gives room for the names; the second has cells of one size
    across = chart.room
    chart.width = max(300, across[0] + cell * len(columns))
    chart.height = chart.room[1] + min(cell, _CELL) * len(rows)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            value = float(values[i][j])
            if math.isfinite(value):
                text = f"{100 * value:z.0f}" if large or hundredths else f"{value:+z.2f}"
                series = int(value < 0)
                name = "" if large else f"{row}, {column}: {value:+z.4g}"
                chart.cell((j, i), abs(value) / high, series, text, name)
    return Figure(chart)


def _from_zero(numbers: Sequence[float], label: str, *, percent: bool) -> Axis:
    """An axis over the numbers and 0, with room only where there are numbers."""
    axis = Axis.over([0.0, *numbers], label, percent=percent)
    known = [value for value in numbers if math.isfinite(value)]
    low = axis.low if min(known, default=0.0) < 0 else 0.0
    high = axis.high if max(known, default=1.0) > 0 else 0.0
    return Axis(low, high if high > low else low + 1.0, label, percent)
