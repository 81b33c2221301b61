"""Charts as SVG in an HTML page: no script, readable without colour, and described in words.

Series differ by colour, dashes and the shape of their marks; colours are variables of the page's
style, so that a dark page has its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from recsys_mtl.reports.axis import LONGEST, Axis
from recsys_mtl.text import as_html

Point = tuple[float, float]
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 20, 10, 44
_CHARACTER = 8.3  # width, roughly, of the larger letters on a small screen
_DIGIT = 7.2
_WIDE = 640  # a wider chart has the page's width, and scrolls on a small screen
_MOST_LEANING = 130  # height of names below an axis
_DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 4", "12 4")
SERIES = len(_DASHES)
"""So many series of one chart look different."""


@dataclass
class Chart:
    """A chart that is drawn element by element; what is drawn later lies above.

    Attributes:
        title: its name, for who cannot see it too.
        description: in a sentence or two, what is to be seen.
        x: from left to right.
        y: from bottom to top; with names from top to bottom.
        width: of the picture; the page scales it.
        height: of the picture.
        grid: whether lines join the marks of the axes.
    """

    title: str
    description: str
    x: Axis
    y: Axis
    width: int = 480
    height: int = 300
    grid: bool = True
    _drawn: list[str] = field(default_factory=list)

    def line(self, points: Sequence[Point], series: int = 0, *, marked: bool = False) -> None:
        """A line through points; marked at each of them."""
        series %= SERIES
        path = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in points if _finite(x, y))
        dash = f' stroke-dasharray="{_DASHES[series]}"' if _DASHES[series] else ""
        self._drawn.append(f'<polyline class="line s{series}" points="{path}"{dash}/>')
        if marked:
            self.marks(points, series)

    def marks(
        self, points: Sequence[Point], series: int = 0, *, size: float = 4.0, text: str = ""
    ) -> None:
        """A mark at each point; `text` is shown when a pointer rests on one."""
        for x, y in points:
            if _finite(x, y):
                mark = _mark(self._x(x), self._y(y), series % SERIES, size)
                self._drawn.append(f"<g><title>{as_html(text)}</title>{mark}</g>" if text else mark)

    def dots(self, points: Sequence[Point]) -> None:
        """Small, faint rings, for many single values."""
        for x, y in points:
            if _finite(x, y):
                at = f'cx="{self._x(x):.1f}" cy="{self._y(y):.1f}"'
                self._drawn.append(f'<circle class="dot" {at} r="2.5"/>')

    def span(self, low: Point, high: Point, series: int = 0) -> None:
        """A straight line from one point to another, such as an interval."""
        if _finite(*low, *high):
            (x1, y1), (x2, y2) = self._at(low), self._at(high)
            places = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
            self._drawn.append(f'<line class="line s{series % SERIES}" {places}/>')

    def band(self, lower: Sequence[Point], upper: Sequence[Point], series: int = 0) -> None:
        """The area between two lines."""
        around = [*lower, *reversed(upper)]
        path = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in around)
        self._drawn.append(f'<polygon class="band s{series % SERIES}" points="{path}"/>')

    def bar(self, x: float, wide: float, y: float, series: int = 0) -> None:
        """A bar from the bottom (or 0, where it is inside) to `y`, `wide` around `x`."""
        base = min(max(0.0, self.y.low), self.y.high)
        top, bottom = sorted((self._y(y), self._y(base)))
        left, right = self._x(x - wide / 2), self._x(x + wide / 2)
        self._drawn.append(
            f'<rect class="bar s{series % SERIES}" x="{left:.1f}" y="{top:.1f}" '
            f'width="{max(right - left, 0.5):.1f}" height="{bottom - top:.1f}"/>'
        )

    def row_bar(
        self,
        row: float,
        tall: float,
        x: float,
        series: int = 0,
        *,
        hollow: bool = False,
        text: str = "",
    ) -> None:
        """A bar from the left (or 0, where it is inside) to `x`, `tall` around a row.

        `text` is shown when a pointer rests on it.
        """
        base = min(max(0.0, self.x.low), self.x.high)
        left, right = sorted((self._x(x), self._x(base)))
        top, bottom = sorted((self._y(row - tall / 2), self._y(row + tall / 2)))
        look = f"hollow s{series % SERIES}" if hollow else f"bar s{series % SERIES}"
        self._drawn.append(
            f'<rect class="{look}" x="{left:.1f}" y="{top:.1f}" '
            f'width="{max(right - left, 0.5):.1f}" height="{bottom - top:.1f}">'
            f"<title>{as_html(text)}</title></rect>"
        )

    def cell(self, at: Point, strength: float, series: int, text: str, name: str = "") -> None:
        """A square of a matrix, the denser the stronger (0 to 1), with a text in it.

        Args:
            at: its column and row.
            strength: of its colour.
            series: its colour.
            text: in it.
            name: shown when a pointer rests on it.
        """
        left, right = self._x(at[0] - 0.5), self._x(at[0] + 0.5)
        top, bottom = self._y(at[1] - 0.5), self._y(at[1] + 0.5)
        drawn = (
            f'<rect class="cell s{series % SERIES}" x="{left:.0f}" y="{top:.0f}" '
            f'width="{right - left:.0f}" height="{bottom - top:.0f}" '
            f'fill-opacity="{0.6 * min(max(strength, 0.0), 1.0):.2f}"/>'
            f'<text class="in" x="{(left + right) / 2:.0f}" y="{(top + bottom) / 2 + 4:.0f}">'
            f"{as_html(text)}</text>"
        )
        title = f"<title>{as_html(name)}</title>"
        self._drawn.append(f"<g>{title}{drawn}</g>" if name else drawn)

    def label(self, at: Point, text: str, *, down: float = 4.0) -> None:
        """A text next to a point: on that side where there is more room.

        Args:
            at: the point.
            text: of few words.
            down: pixels from its height to the text's base.
        """
        x, y = self._at(at)
        left = x > (self._left + self.width) / 2
        anchor, shift = ("end", -8) if left else ("start", 8)
        self._drawn.append(
            f'<text class="small" x="{x + shift:.1f}" y="{y + down:.1f}" '
            f'text-anchor="{anchor}">{as_html(_short(text))}</text>'
        )

    def guide(self, start: Point, end: Point, text: str = "") -> None:
        """A thin line for orientation, with a text at its end."""
        (x1, y1), (x2, y2) = self._at(start), self._at(end)
        self._drawn.append(
            f'<line class="guide" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
        )
        if text:
            anchor = "end" if x2 > self.width / 2 else "start"
            shift = -4 if anchor == "end" else 4
            self._drawn.append(
                f'<text class="small" x="{x2 + shift:.1f}" y="{max(y2, _TOP) + 11:.1f}" '
                f'text-anchor="{anchor}">{as_html(text)}</text>'
            )

    def svg(self) -> str:
        """The picture."""
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-label="{as_html(self.title)}">'
            f"<title>{as_html(self.title)}</title><desc>{as_html(self.description)}</desc>"
            f"{''.join((*self._axes(), *self._drawn))}</svg>"
        )

    def figure(self, names: Sequence[str] = ()) -> str:
        """The picture with its title, the names of its series and its description."""
        legend = ""
        if names:
            items = "".join(f"<li>{_sample(i)} {as_html(n)}</li>" for i, n in enumerate(names))
            legend = f'<ul class="legend">{items}</ul>'
        wide = f' class="wide" style="--least: {self.width}px"' if self.width > _WIDE else ""
        return (
            f'<figure{wide}><figcaption class="name">{as_html(self.title)}</figcaption>{legend}'
            f'<div class="scroll">{self.svg()}</div>'
            f'<p class="note">{as_html(self.description)}</p></figure>'
        )

    def _axes(self) -> list[str]:
        parts = []
        bottom, left, right = self.height - self._below, self._left, self.width - _RIGHT
        for value, text in self.x.ticks():
            x = self._x(value)
            if self.grid:
                parts.append(
                    f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}"/>'
                )
            if self._leaning:
                turn = f' transform="rotate(-50 {x:.1f} {bottom + 12:.1f})"'
                parts.append(_text(x, bottom + 12, _short(text), "end", turn))
            else:
                parts.append(_text(x, bottom + 15, _short(text), "middle"))
        for value, text in self.y.ticks():
            y = self._y(value)
            if self.grid:
                places = f'x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"'
                parts.append(f'<line class="grid" {places}/>')
            parts.append(_text(left - 6, y + 4, _short(text), "end"))
        middle = (left + right) / 2
        parts.append(_text(middle, self.height - 8, self.x.label, "middle"))
        if self.y.label:
            y = (_TOP + bottom) / 2
            turn = f' transform="rotate(-90 12 {y:.0f})"'
            parts.append(_text(12, y, self.y.label, "middle", turn))
        return parts

    @property
    def _left(self) -> int:
        """Room for the names or numbers of the y axis, and for its label."""
        longest = self.y.longest
        wanted = longest * _CHARACTER + 12 if self.y.names else longest * _DIGIT + 26
        return max(_LEFT, min(round(wanted), self.width // 2))

    @property
    def room(self) -> tuple[int, int]:
        """Pixels that names, numbers and margins take, across and down."""
        return self._left + _RIGHT, self._below + _TOP

    @property
    def _leaning(self) -> bool:
        """Whether names below the chart do not fit side by side."""
        room = (self.width - _RIGHT - self._left) / max(len(self.x.names), 1)
        return bool(self.x.names) and self.x.longest * _CHARACTER > room

    @property
    def _below(self) -> int:
        """Room for the names of the x axis."""
        if not self._leaning:
            return _BOTTOM
        return _BOTTOM + min(round(0.77 * self.x.longest * _CHARACTER), _MOST_LEANING) - 10

    def _at(self, point: Point) -> Point:
        return self._x(point[0]), self._y(point[1])

    def _x(self, value: float) -> float:
        inside = self.width - _RIGHT - self._left
        return self._left + inside * (value - self.x.low) / (self.x.high - self.x.low)

    def _y(self, value: float) -> float:
        inside = self.height - self._below - _TOP
        share = (value - self.y.low) / (self.y.high - self.y.low)
        return _TOP + inside * (share if self.y.names else 1 - share)


def forest(
    title: str,
    description: str,
    rows: Sequence[tuple[str, float | None, float | None, float | None]],
    *,
    label: str,
    reference: float | None = None,
    matters: float = 0.0,
    dots: Sequence[Sequence[float]] = (),
    first: bool = True,
) -> Chart:
    """A forest plot: (name, estimate, lower end, upper end) from the top.

    Args:
        title: of the chart.
        description: of it.
        rows: None where a number is not known; a row without an estimate stays empty.
        label: of the numbers.
        reference: where a line marks what the rows are compared with.
        matters: a band so far on both sides of the reference.
        dots: single values of each row, below its estimate; empty: none.
        first: whether the first row stands out.
    """
    numbers = [v for row in rows for v in row[1:] if v is not None]
    numbers += [one for own in dots for one in own]
    names = [name if value is not None else f"{name} (–)" for name, value, *_ in rows]
    end = len(rows) - 0.5
    if reference is not None:
        numbers += [reference - matters, reference + matters]
    chart = Chart(
        title, description, Axis.over(numbers, label), Axis.of(names),
        height=_TOP + _BOTTOM + (34 if dots else 24) * len(rows),
    )  # fmt: skip
    if reference is not None:
        if matters:
            left, right = reference - matters, reference + matters
            chart.band([(left, -0.5), (left, end)], [(right, -0.5), (right, end)], SERIES - 1)
        chart.guide((reference, -0.5), (reference, end))
    for row, (name, value, low, high) in enumerate(rows):
        series, known = min(row, 1) if first else 0, low is not None and high is not None
        if row < len(dots):
            chart.dots([(one, row + 0.28) for one in dots[row]])
        if known:
            chart.span((low or 0.0, row), (high or 0.0, row), series)
        if value is not None:
            ends = f" [{low:.4g}, {high:.4g}]" if known else ""
            chart.marks([(value, row)], series, size=5, text=f"{name}: {value:.4g}{ends}")
    return chart


def _short(text: str) -> str:
    """As much as an axis has room for."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _finite(*values: float) -> bool:
    return all(map(math.isfinite, values))


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{as_html(text)}</text>'


def _mark(x: float, y: float, series: int, size: float) -> str:
    shape = series % 4
    if shape == 0:
        return f'<circle class="mark s{series}" cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}"/>'
    shapes: dict[int, list[Point]] = {
        1: [(-1, -1), (1, -1), (1, 1), (-1, 1)],
        2: [(0, -1.2), (1.2, 1), (-1.2, 1)],
        3: [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)],
    }
    points = " ".join(f"{x + size * dx:.1f},{y + size * dy:.1f}" for dx, dy in shapes[shape])
    return f'<polygon class="mark s{series}" points="{points}"/>'


def _sample(series: int) -> str:
    """What a series looks like, for a legend."""
    series %= SERIES
    dash = f' stroke-dasharray="{_DASHES[series]}"' if _DASHES[series] else ""
    line = f'<line class="line s{series}" x1="1" y1="7" x2="29" y2="7"{dash}/>'
    return (
        f'<svg viewBox="0 0 30 14" width="30" height="14" aria-hidden="true">'
        f"{line}{_mark(15, 7, series, 4)}</svg>"
    )
