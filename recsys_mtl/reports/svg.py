"""Charts as SVG in an HTML page: no script, readable without colour, and described in words.

Series differ by colour, dashes and the shape of their marks; colours are variables of the page's
style, so that a dark page has its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from recsys_mtl.text import as_html

Point = tuple[float, float]
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 10, 44
_CHARACTER = 6.6  # width, roughly
_DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 4", "12 4")
SERIES = len(_DASHES)
"""So many series of one chart look different."""


@dataclass(frozen=True)
class Axis:
    """One direction of a chart.

    Attributes:
        low: its lower end.
        high: its upper end, above it.
        label: what it shows, with the unit.
        percent: whether numbers are shares.
        names: of the positions 0, 1, …, from the top or the left; numbers are not shown then.
        whole: whether only whole numbers are marked.
    """

    low: float
    high: float
    label: str = ""
    percent: bool = False
    names: Sequence[str] = ()
    whole: bool = False

    @classmethod
    def over(cls, values: Iterable[float], label: str = "", *, percent: bool = False) -> Axis:
        """An axis with room for all finite values; of one value with room around it."""
        known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(known), max(known)
        room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        return cls(low - room, high + room, label, percent)

    @classmethod
    def of(cls, names: Sequence[str], label: str = "") -> Axis:
        """Positions with names."""
        return cls(-0.5, len(names) - 0.5, label, names=tuple(names))

    def ticks(self) -> list[tuple[float, str]]:
        """Where there are marks, and what they say."""
        if self.names:
            return list(enumerate(self.names))
        step = max(_step(self.high - self.low), float(self.whole))
        first = math.ceil(self.low / step - 1e-9)
        values = [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        if self.percent:
            return [(value, f"{value:.{max(0, digits - 2)}%}") for value in values]
        return [(value, f"{value:,.{digits}f}") for value in values]


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
    """

    title: str
    description: str
    x: Axis
    y: Axis
    width: int = 480
    height: int = 300
    _drawn: list[str] = field(default_factory=list)

    def line(self, points: Sequence[Point], series: int = 0, *, marked: bool = False) -> None:
        """A line through points; marked at each of them."""
        series %= SERIES
        path = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in points if _finite(x, y))
        dash = f' stroke-dasharray="{_DASHES[series]}"' if _DASHES[series] else ""
        self._drawn.append(f'<polyline class="line s{series}" points="{path}"{dash}/>')
        if marked:
            self.marks(points, series)

    def marks(self, points: Sequence[Point], series: int = 0, *, size: float = 4.0) -> None:
        """A mark at each point."""
        for x, y in points:
            if _finite(x, y):
                self._drawn.append(_mark(self._x(x), self._y(y), series % SERIES, size))

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
            f'aria-label="{as_html(f"{self.title}. {self.description}")}">'
            f"{''.join((*self._axes(), *self._drawn))}</svg>"
        )

    def figure(self, names: Sequence[str] = ()) -> str:
        """The picture with its title, the names of its series and its description."""
        legend = ""
        if names:
            items = "".join(f"<li>{_sample(i)} {as_html(n)}</li>" for i, n in enumerate(names))
            legend = f'<ul class="legend">{items}</ul>'
        return (
            f'<figure><figcaption class="name">{as_html(self.title)}</figcaption>{legend}'
            f'{self.svg()}<p class="note">{as_html(self.description)}</p></figure>'
        )

    def _axes(self) -> list[str]:
        parts = []
        bottom, left, right = self.height - _BOTTOM, self._left, self.width - _RIGHT
        for value, text in self.x.ticks():
            x = self._x(value)
            parts.append(
                f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}"/>'
            )
            parts.append(_text(x, bottom + 15, text, "middle"))
        for value, text in self.y.ticks():
            y = self._y(value)
            parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
            parts.append(_text(left - 6, y + 4, text, "end"))
        middle = (left + right) / 2
        parts.append(_text(middle, self.height - 8, self.x.label, "middle"))
        if self.y.label:
            y = (_TOP + bottom) / 2
            turn = f' transform="rotate(-90 12 {y:.0f})"'
            parts.append(_text(12, y, self.y.label, "middle", turn))
        return parts

    @property
    def _left(self) -> int:
        """Room for the names of the y axis."""
        longest = max((len(name) for name in self.y.names), default=0)
        return max(_LEFT, min(round(longest * _CHARACTER) + 12, self.width // 2))

    def _at(self, point: Point) -> Point:
        return self._x(point[0]), self._y(point[1])

    def _x(self, value: float) -> float:
        inside = self.width - _RIGHT - self._left
        return self._left + inside * (value - self.x.low) / (self.x.high - self.x.low)

    def _y(self, value: float) -> float:
        inside = self.height - _BOTTOM - _TOP
        share = (value - self.y.low) / (self.y.high - self.y.low)
        return _TOP + inside * (share if self.y.names else 1 - share)


def forest(
    title: str,
    description: str,
    rows: Sequence[tuple[str, float | None, float | None, float | None]],
    *,
    label: str,
    reference: float | None = None,
) -> Chart:
    """A forest plot: (name, estimate, lower end, upper end) from the top; the first row stands out.

    Args:
        title: of the chart.
        description: of it.
        rows: None where a number is not known; a row without an estimate stays empty.
        label: of the numbers.
        reference: where a line marks what the rows are compared with.
    """
    numbers = [v for row in rows for v in row[1:] if v is not None]
    numbers += [] if reference is None else [reference]
    names = [name if value is not None else f"{name} (–)" for name, value, *_ in rows]
    chart = Chart(
        title, description, Axis.over(numbers, label), Axis.of(names),
        height=_TOP + _BOTTOM + 24 * len(rows),
    )  # fmt: skip
    if reference is not None:
        chart.guide((reference, -0.5), (reference, len(rows) - 0.5))
    for row, (_, value, low, high) in enumerate(rows):
        series = min(row, 1)
        if low is not None and high is not None:
            chart.span((low, row), (high, row), series)
        if value is not None:
            chart.marks([(value, row)], series, size=5)
    return chart


def _step(width: float) -> float:
    """A round distance between four to eight marks."""
    rough = width / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next(m for m in (1, 2, 5, 10) if m * power >= 0.8 * rough)


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
