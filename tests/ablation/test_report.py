from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from recsys_mtl.ablation.document import ablation_document
from recsys_mtl.ablation.report import make_page
from recsys_mtl.ablation.summary import Rule, Summary, summarize
from recsys_mtl.reports.output import plain
from recsys_mtl.reports.page import Page, Picture, Table
from tests.ablation.conftest import Make
from tests.pages import Read

Unit = Callable[..., dict[str, Any]]
PLANNED = {"x": {"x": 1.0, "y": 0.8}, "y": {"x": 0.8, "y": 1.0}}


def some(unit: Unit, *, seeds: int = 4, known: bool = True) -> Summary:
    """Arm `a` helps, `b` hurts."""
    transfer = [
        {"affinity": [np.eye(2).tolist()], "observations": 1},
        {"affinity": [[[1.0, 0.3], [0.3, 1.0]]], "observations": 2},
    ]
    units = []
    for seed in range(seeds):
        for arm, gain in (("off", 0.0), ("a", 0.02 + seed / 1000), ("b", -0.02 - seed / 1000)):
            scores = {"x": 0.7 + gain, "y": 0.6 + gain}
            more = {"true": scores, "relation": PLANNED} if known else {}
            measured = transfer if arm == "a" else []
            units.append(unit(arm, seed, scores, transfer=measured, **more))
    return summarize(units, ("off", "a", "b"), Rule(0.005, 0.1))


def tables(page: Page) -> dict[str, Table]:
    return {part.title: part for part in page.parts if isinstance(part, Table)}


def pictures(page: Page) -> list[str]:
    return [part.name for part in page.parts if isinstance(part, Picture)]


def test_the_page_begins_with_what_was_compared_and_the_verdicts(unit: Unit) -> None:
    page = make_page("tiny", some(unit))
    head, *verdicts = [part for part in page.parts if isinstance(part, str)]
    assert page.title == "Ablation tiny"
    assert head.startswith("3 arms on 4 paired seeds (0 to 3), 2 tasks")
    assert "compared with 'off'. Scores are AUC (binary), against the true probabilities" in head
    assert "of the level 99.5 %; a difference matters beyond 0.1 points." in head
    assert verdicts[0].startswith("a: helps: +2.15 points [+1.67, +2.63], p = ")
    assert verdicts[1].startswith("b: hurts: -2.15 points [-2.63, -1.67], p = ")
    assert len(verdicts) == 2
    assert "against the labels" in str(make_page("t", some(unit, known=False)).parts[0])


def test_tables_hold_every_arm_and_task(unit: Unit) -> None:
    summary = some(unit)
    by_title = tables(make_page("tiny", summary))
    arms = by_title["Arms"]
    assert [row[0] for row in arms.rows] == ["off", "a", "b"]
    assert arms.rows[0] == ["off", "", "", "", "", "1.00"]
    assert arms.rows[1][1] == "+2.15 [+1.67, +2.63]"
    assert [row[3] for row in arms.rows] == ["", "4:0", "0:4"]
    assert arms.rows[1][4] == f"{summary.arms['a'].relative:+.2f}"
    tasks = by_title["Differences by task"]
    assert [row[:2] for row in tasks.rows] == [["x", "a"], ["", "b"], ["y", "a"], ["", "b"]]
    scores = by_title["Scores"]
    assert scores.columns == ("task", "score", "labels", "off", "a", "b")
    assert scores.rows[0] == ["x", "AUC", "102", "0.7000 (0.50)", "0.7215 (0.55)", "0.6785 (0.45)"]
    for table in by_title.values():
        assert {len(row) for row in table.rows} == {len(table.columns)}


def test_affinity_is_shown_where_the_plan_is_known(unit: Unit) -> None:
    page = make_page("tiny", some(unit))
    assert pictures(page) == ["differences", "affinity"]
    rows = tables(page)["Affinity against the plan"].rows
    assert [row[:2] for row in rows] == [["a", "1"], ["", "2"]]
    assert rows[1][2:] == ["", "1.00", "", ""]  # one pair has no rank correlation, none conflicts
    unknown = make_page("tiny", some(unit, known=False))
    assert pictures(unknown) == ["differences"]
    assert "Affinity against the plan" not in tables(unknown)
    assert tables(unknown)["Scores"].note == ""


def test_it_is_written_as_markdown_html_and_pictures(unit: Unit, tmp_path: Path) -> None:
    page = make_page("tiny", some(unit))
    written = page.write(tmp_path, "report", markdown=True)
    names = {"report.md", "report.html", "differences.png", "affinity.png"}
    assert {path.name for path in written} == {path.name for path in tmp_path.iterdir()} == names
    markdown = (tmp_path / "report.md").read_text()
    html = (tmp_path / "report.html").read_text()
    for text in ("a: helps: +2.15 points", "+2.15 [+1.67, +2.63]", "Differences by task"):
        assert text in markdown
        assert text in html
    assert "![Differences](differences.png)" in markdown
    assert "![Affinity](affinity.png)" in markdown
    assert html.count("data:image/png;base64,") == 2
    assert (tmp_path / "differences.png").read_bytes().startswith(b"\x89PNG")


def test_it_is_shown_on_a_terminal(unit: Unit, capsys: pytest.CaptureFixture[str]) -> None:
    make_page("tiny", some(unit)).show()
    out = capsys.readouterr().out
    assert "a: helps" in out
    assert "Arms" in out
    assert "Detectable" not in out  # in the files only


def test_what_is_unknown_is_left_empty(unit: Unit, tmp_path: Path) -> None:
    units = [
        unit("off", 0, {"x": 0.5, "y": None}),
        unit("a", 0, {"x": 0.52, "y": None}),
        unit("b", 1, {"x": 0.5, "y": None}),
    ]
    page = make_page("tiny", summarize(units, ("off", "a", "b"), Rule(0.005, 0.1)))
    assert "a: not decided: fewer than two pairs." in page.parts
    arms = tables(page)["Arms"].rows
    assert arms[1] == ["a", "+2.00", "", "1:0", "+4.00", "1.00"]
    assert arms[2] == ["b", "", "", "0:0", "", ""]
    page.write(tmp_path, "report", markdown=True)
    assert "nan" not in (tmp_path / "report.md").read_text()


def test_a_reference_alone_is_a_page(unit: Unit, tmp_path: Path) -> None:
    """Nothing of the other arms is there yet."""
    units = [unit("off", 0, {"x": 0.5})]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = make_page("tiny", summarize(units, ("off", "a"), Rule(0.005, 0.1)))
        page.write(tmp_path, "report")
    assert [row[0] for row in tables(page)["Arms"].rows] == ["off"]


def read(summary: Summary, make: Make, **keys: Any) -> Read:
    return Read(ablation_document(make(**keys), summary, Path("my runs/tiny")))


def dots(page: Read, name: str) -> int:
    return sum(of.get("class") == "dot" for _, of in page.pictures[name].drawn)


def test_the_html_page_begins_with_what_to_conclude(unit: Unit, make: Make) -> None:
    page = read(some(unit), make)
    assert page.headings[:2] == ["Ablation tiny", "Verdicts"]
    assert page.paragraphs[:2] == ["Helps: a.", "Hurts: b."]
    assert page.paragraphs[2].startswith("3 arms on 4 paired seeds (0 to 3), 2 tasks")
    assert "a: helps: +2.15 points [+1.67, +2.63]" in page.paragraphs[3]
    assert page.code[0] == "recsys-mtl ablate 'my runs/tiny/ablation.yaml' --out 'my runs/tiny'"
    assert yaml.safe_load(page.code[1])["ready"] == ["off", "published"]
    assert "tracking" not in page.code[1], "an address may have a password"
    assert not {"script", "link", "img"} & page.tags


def test_its_charts_have_the_numbers_of_the_result(unit: Unit, make: Make) -> None:
    page, stored = read(some(unit), make), plain(some(unit))["arms"]
    charts = {"Mean over tasks": "overall", "x: AUC": "x", "y: AUC": "y"}
    for name, key in charts.items():
        gains = {n: stored[n]["overall"] if key == "overall" else stored[n]["tasks"][key]
                 for n in ("a", "b")}  # fmt: skip
        assert page.pictures[name].tips == [
            f"{n}: {g['mean']:.4g} [{g['low']:.4g}, {g['high']:.4g}]" for n, g in gains.items()
        ]
        assert dots(page, name) == 8
        assert any(of.get("class") == "band s5" for _, of in page.pictures[name].drawn)
    points = [seed["x"] for seed in stored["a"]["points"].values()]
    assert sum(points) / 4 == pytest.approx(stored["a"]["tasks"]["x"]["mean"])
    assert stored["off"]["points"] == {}
    gain = stored["a"]["overall"]["mean"]
    assert page.pictures["Gain and training time"].tips == [
        f"a: 1, {gain:.4g}", "off: 1, 0", f"b: 1, {stored['b']['overall']['mean']:.4g}",
    ]  # fmt: skip
    assert page.pictures["planned: relations"].tips == ["x, y: +0.8", "y, x: +0.8"]
    assert page.pictures["a: affinity"].tips == ["x, y: +0.3", "y, x: +0.3"]


def test_it_names_collapsed_arms_and_escapes_names(unit: Unit, make: Make) -> None:
    hostile = "</svg><script>alert(1)</script>"
    units = [unit("off", seed, {hostile: 0.7, "y": 0.6}) for seed in range(3)]
    units += [unit("noise_floor", s, {hostile: 0.7 + s / 1e4, "y": 0.6}) for s in range(3)]
    units += [unit(hostile, s, {hostile: None if s else 0.6, "y": 0.6}) for s in range(3)]
    page = read(summarize(units, ("off", "noise_floor", hostile), Rule(0.05, 0.1)), make)
    assert f"Without a score on some seeds: {hostile}; see Collapsed." in page.paragraphs
    rows = page.tables["No score though another arm has one"][1:]
    assert rows == [[hostile, hostile, "2"]]
    assert any(text.endswith("chance alone brings an arm.") for text in page.paragraphs)
    assert "script" not in page.tags
    assert "Affinity" not in page.headings


def test_a_reference_alone_is_an_html_page(unit: Unit, make: Make) -> None:
    summary = summarize([unit("off", 0, {"x": 0.5})], ("off", "a"), Rule(0.005, 0.1))
    page = read(summary, make)
    assert page.paragraphs[0].startswith("Only the reference 'off' is trained")
    assert page.pictures == {}


def test_a_large_one_stays_small(unit: Unit, make: Make) -> None:
    scores = {f"task {i}": 0.7 for i in range(40)}
    arms = ("off", *(f"arm {i}" for i in range(3)))
    units = [
        unit(arm, s, {t: v + s / 1e3 for t, v in scores.items()}) for arm in arms for s in range(40)
    ]
    html = ablation_document(make(), summarize(units, arms, Rule(0.005, 0.1)), Path("x"))
    assert len(html) < 1_000_000
    assert "Rings" not in html, "too many seeds to draw"
