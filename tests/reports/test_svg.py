"""Charts as SVG: where things are drawn, and that who cannot see them is told."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from recsys_mtl.reports.axis import Axis
from recsys_mtl.reports.charts import Spot, bars, heat_map, lines, scatter, then_and_now
from recsys_mtl.reports.document import Code, Figure, Folded, Section, document
from recsys_mtl.reports.page import Table
from recsys_mtl.reports.svg import SERIES, Chart, forest

SVG = "{http://www.w3.org/2000/svg}"


def boxes(drawn: ElementTree.Element) -> list[ElementTree.Element]:
    return drawn.findall(f"{SVG}rect")


def groups(drawn: ElementTree.Element) -> list[ElementTree.Element]:
    return drawn.findall(f"{SVG}g")


def titles(drawn: ElementTree.Element) -> list[str | None]:
    return [title.text for title in drawn.iterfind(f"*/{SVG}title")]


def parsed(chart: Chart) -> ElementTree.Element:
    return ElementTree.fromstring(chart.svg().replace("<svg ", f'<svg xmlns="{SVG[1:-1]}" ', 1))


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (Axis(0, 1, percent=True), ["0%", "20%", "40%", "60%", "80%", "100%"]),
        (Axis(0.77, 0.83), [f"0.{n}" for n in range(77, 84)]),
        (Axis(-3, 12_000), ["0", *(f"{n},000" for n in range(2, 13, 2))]),
        (Axis.of(["a", "b"]), ["a", "b"]),
        (Axis(-0.5, 1.5, whole=True), ["0", "1"]),
        (Axis.over([2.0]), ["1.90", "1.95", "2.00", "2.05", "2.10"]),
        (Axis.over([]), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
    ],
)
def test_marks_of_an_axis_are_round(axis: Axis, expected: list[str]) -> None:
    assert [text for _, text in axis.ticks()] == expected
    assert all(axis.low - 1e-9 <= value <= axis.high + 1e-9 for value, _ in axis.ticks())


def test_points_are_where_the_axes_say() -> None:
    chart = Chart("losses", "They fall.", Axis(0, 10), Axis(0, 1), width=276, height=154)
    chart.marks([(0, 0), (10, 1), (5, float("nan"))])
    circles = parsed(chart).findall(f"{SVG}circle")
    assert [(c.get("cx"), c.get("cy")) for c in circles] == [("56.0", "110.0"), ("256.0", "10.0")]


def test_series_differ_without_colour() -> None:
    looks = set()
    for series in range(SERIES):
        chart = Chart("", "", Axis(0, 1), Axis(0, 1))
        chart.line([(0, 0), (1, 1)], series, marked=True)
        dashes = re.search(r'class="line.*?(stroke-dasharray="[^"]*")?/>', chart.svg())
        assert dashes is not None
        looks.add(dashes[1])
    assert len(looks) == SERIES


def test_a_forest_has_a_line_a_row() -> None:
    rows = [("model", 0.8, 0.7, 0.9), ("trees", 0.75, None, None), ("none", None, None, None)]
    chart = forest("auc", "Three.", rows, label="auc", reference=0.5)
    found = parsed(chart)
    assert (found.get("role"), found.get("aria-label")) == ("img", "auc")
    assert [found.findtext(f"{SVG}{name}") for name in ("title", "desc")] == ["auc", "Three."]
    assert [text.text for text in found.findall(f"{SVG}text")][-4:-1] == [
        "model", "trees", "none (–)",
    ]  # fmt: skip
    lines = [line for line in found.findall(f"{SVG}line") if line.get("class") == "line s0"]
    assert len(lines) == 1
    assert lines[0].get("y1") == lines[0].get("y2")
    assert float(lines[0].get("x1", "0")) < float(lines[0].get("x2", "0"))


def test_a_forest_shows_single_values_and_what_matters() -> None:
    chart = forest("d", "", [("a", 1.0, 0.5, 1.5), ("b", 0.0, None, None)], label="points",
                   reference=0.0, matters=0.25, dots=[[0.5, 1.5], [0.0]], first=False)  # fmt: skip
    drawn = parsed(chart)
    dots = [float(c.get("cx", "")) for c in drawn.findall(f"{SVG}circle")]
    (span,) = [line for line in drawn.findall(f"{SVG}line") if "line" in line.get("class", "")]
    assert dots[:2] == [float(span.get("x1", "")), float(span.get("x2", ""))]
    (band,) = drawn.findall(f"{SVG}polygon")
    edges = sorted({float(point.split(",")[0]) for point in band.get("points", "").split()})
    assert sum(edges) / 2 == pytest.approx(dots[2], abs=0.1), "around the reference"
    half = (edges[1] - edges[0]) / 2
    assert half == pytest.approx((dots[1] - dots[0]) / 4, abs=0.1), "a quarter, on the same scale"


def test_bars_begin_at_zero_and_have_intervals() -> None:
    rows = [("age", 0.2, 0.1, 0.3), ("noise", -0.1, None, None), ("gone", None, None, None)]
    drawn = parsed(bars("importance", "", rows, label="drop").chart)
    age, noise = ((float(r.get("x", "")), float(r.get("width", ""))) for r in boxes(drawn))
    assert noise[0] + noise[1] == pytest.approx(age[0], abs=0.1), "both at 0"
    assert age[1] == pytest.approx(2 * noise[1], abs=0.2)
    assert titles(drawn) == ["age: 0.2 [0.1, 0.3]", "noise: -0.1"]
    assert len([x for x in drawn.findall(f"{SVG}line") if x.get("class") == "line s5"]) == 3


def test_then_and_now_differ_without_colour() -> None:
    rows = [("Bern", 0.6, 0.3), ("Oslo", 0.3, 0.6)]
    figure = then_and_now("city", "Moved.", rows, label="rows")
    looks = [(r.get("class"), float(r.get("width", ""))) for r in boxes(parsed(figure.chart))]
    assert [look for look, _ in looks] == ["hollow s1", "bar s0"] * 2
    widths = [width for _, width in looks]
    assert widths == pytest.approx([2 * widths[1], widths[1], widths[1], 2 * widths[1]], abs=0.2)
    assert "then: the upper, dashed bar" in figure.chart.description


def test_a_heat_map_writes_its_numbers() -> None:
    values = [[float("nan"), 0.5], [-0.25, -0.001]]
    drawn = parsed(heat_map("m", "", values, rows=["a", "b"], columns=["x", "y"]).chart)
    cells = [(g[1].get("class"), g[1].get("fill-opacity"), g[2].text) for g in groups(drawn)]
    assert cells == [
        ("cell s0", "0.30", "+0.50"), ("cell s1", "0.15", "-0.25"), ("cell s1", "0.00", "+0.00"),
    ]  # fmt: skip
    assert titles(drawn) == ["a, y: +0.5", "b, x: -0.25", "b, y: -0.001"]
    names = [f"a task with a long name {i}" for i in range(30)]
    wide = heat_map("m", "", [[1.0] * 30] * 30, rows=names, columns=names).chart
    assert 'class="wide"' in wide.figure()
    cells = [t.text for t in parsed(wide).findall(f"{SVG}text") if t.get("class") == "in"]
    assert cells == ["100"] * 900
    assert len(wide.figure()) < 150_000
    assert "rotate(-50" in wide.svg()


def test_points_have_their_names() -> None:
    spots = [Spot("off", 1.0, 0.0), Spot("a", 1.0, 0.001, 0.0, 0.3), Spot("b", 2.0, 0.3, series=1)]
    figure = scatter("cost", "", spots, x="time", y="gain", line=[(1.0, 0.0), (2.0, 0.3)], level=0)
    drawn = parsed(figure.chart)
    assert titles(drawn) == ["b: 2, 0.3", "a: 1, 0.001", "off: 1, 0"]
    small = [t for t in drawn.findall(f"{SVG}text") if t.get("class") == "small"]
    assert [t.text for t in small] == ["b", "a", "off"]
    heights = [float(t.get("y", "")) for t in small]
    assert abs(heights[1] - heights[2]) > 8, "no name lies on another"


def test_lines_have_a_legend_where_there_are_several() -> None:
    two = lines("l", "", {"a": [(0, 1.0)], "b": [(1, 2.0)]}, x="epoch", y="loss", whole=True)
    assert list(two.names) == ["a", "b"]
    assert (two.chart.x.low, two.chart.x.high) == (-0.5, 1.5)
    assert list(lines("l", "", {"a": []}, x="x", y="y", guide=(0.5, "best")).names) == []


def test_a_document_is_whole_and_texts_are_texts() -> None:
    chart = Chart("<b>", "a & b", Axis(0, 1, "<x>"), Axis.of(["<y>"]))
    table = Table("<t>", ("a", "<h>"), [("1", "<c>")], note="<n>")
    figures = [Figure(chart, ["<s>"]), Figure(chart)]
    rows = [("<b>", 1.0, 0.5, 2.0)]
    more = [
        bars("<b>", "<b>", rows, label="<b>", guides=[1.0]),
        then_and_now("<b>", "<b>", [("<b>", 0.1, 0.2)], label="<b>", names=("<b>", "<b>")),
        scatter("<b>", "<b>", [Spot("<b>", 1.0, 2.0)], x="<b>", y="<b>", names=["<b>"]),
        heat_map("<b>", "<b>", [[1.0]], rows=["<b>"], columns=["<b>"]),
        Figure(forest("<b>", "<b>", rows, label="<b>")),
    ]
    parts = [table, figures, more, Folded("<b>", [Code("a\n<b>")])]
    html = document("<title>", ["<lead>"], [Section("One & two", parts)])
    assert not re.search(r"<(b|x|y|t|h|c|n|s|lead)>", html)
    assert "<caption>&lt;t&gt;</caption>" in html
    assert re.findall(r' scope="(\w+)"', html) == ["col", "col", "row"]
    assert '<a href="#one-two-0">' in html
    assert '<h2 id="one-two-0">' in html
    assert "prefers-color-scheme: dark" in html
    assert not re.search(r"https?://|<script|<link|@import|url\(", html), "nothing from elsewhere"
    for svg in re.findall(r"<svg .*?</svg>", html):
        ElementTree.fromstring(svg)
