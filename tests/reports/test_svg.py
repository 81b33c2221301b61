"""Charts as SVG: where things are drawn, and that who cannot see them is told."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from recsys_mtl.reports.document import Code, Figure, Section, document
from recsys_mtl.reports.page import Table
from recsys_mtl.reports.svg import SERIES, Axis, Chart, forest

SVG = "{http://www.w3.org/2000/svg}"


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
    chart = Chart("losses", "They fall.", Axis(0, 10), Axis(0, 1), width=270, height=154)
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
    assert found.get("aria-label") == "auc. Three."
    assert [text.text for text in found.findall(f"{SVG}text")][-4:-1] == [
        "model", "trees", "none (–)",
    ]  # fmt: skip
    lines = [line for line in found.findall(f"{SVG}line") if line.get("class") == "line s0"]
    assert len(lines) == 1
    assert lines[0].get("y1") == lines[0].get("y2")
    assert float(lines[0].get("x1", "0")) < float(lines[0].get("x2", "0"))


def test_a_document_is_whole_and_texts_are_texts() -> None:
    chart = Chart("<b>", "a & b", Axis(0, 1, "<x>"), Axis.of(["<y>"]))
    table = Table("<t>", ("a", "<h>"), [("1", "<c>")], note="<n>")
    figures = [Figure(chart, ["<s>"]), Figure(chart)]
    html = document("<title>", ["<lead>"], [Section("One & two", [table, figures, Code("a\n<b>")])])
    assert not re.search(r"<(b|x|y|t|h|c|n|s|lead)>", html)
    assert '<a href="#one-two-0">' in html
    assert '<h2 id="one-two-0">' in html
    assert "prefers-color-scheme: dark" in html
    assert not re.search(r"https?://|<script|<link|@import|url\(", html), "nothing from elsewhere"
    for svg in re.findall(r"<svg .*?</svg>", html):
        ElementTree.fromstring(svg)
