from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from recsys_mtl.columns.bins import CategoryBins, NumberBins
from recsys_mtl.reports.page import Table
from recsys_mtl.scoring.drift import FLOOR, measure, psi
from recsys_mtl.scoring.drift_document import drift_document
from recsys_mtl.scoring.drift_page import write_drift
from recsys_mtl.scoring.tally import Tally
from recsys_mtl.serving.reference import Expected, Key, Reference
from tests.pages import Read, table

AGE: Key = ("feature", "age")
CITY: Key = ("feature", "city")
CLICK: Key = ("score", "click")


@pytest.fixture
def reference(rng: np.random.Generator) -> Reference:
    numbers = rng.normal(size=20_000)
    ages = NumberBins.of(numbers)
    cities = CategoryBins((2, 3), ("Bern", "Oslo"), 4)
    expected = {
        AGE: Expected(ages, ages.count(numbers)),
        CITY: Expected(cities, np.array([12_000, 7_000, 0, 0, 1_000])),
        CLICK: Expected(ages, ages.count(numbers)),
    }
    return Reference(expected, "valid")


def tally(reference: Reference, **changed: list[int]) -> Tally:
    counts = {key: e.counts // 10 for key, e in reference.expected.items()}
    for key in counts:
        if key[1] in changed:
            counts[key] = np.array(changed[key[1]])
    return Tally(2_000, counts)


def test_psi_of_a_worked_example() -> None:
    terms = psi(np.array([50, 30, 20]), np.array([20, 30, 50]))
    assert terms.sum() == pytest.approx(2 * 0.3 * math.log(2.5))
    assert terms[1] == 0


def test_an_empty_cell_counts_as_the_floor() -> None:
    terms = psi(np.array([90, 10, 0]), np.array([10, 0, 0]))
    assert terms[1] == pytest.approx((0.1 - FLOOR) * math.log(0.1 / FLOOR))
    assert terms[2] == 0


def test_the_same_shares_are_stable(reference: Reference) -> None:
    drifts = measure(reference, tally(reference))
    assert {d.reading for d in drifts} == {"stable"}
    assert max(d.psi or 0 for d in drifts) < 1e-3


def test_what_moved_comes_first(reference: Reference) -> None:
    city, *others = measure(reference, tally(reference, city=[300, 1_000, 0, 500, 200]))
    assert (city.title, city.reading) == ("city", "large")
    assert city.moved[0] == "unknown"
    assert (city.unknown, city.unknown_then) == (0.25, 0.0)
    assert (city.null, city.null_then) == (0.1, 0.05)
    assert city.by_chance == pytest.approx(3 * (1 / 20_000 + 1 / 2_000))
    assert {d.reading for d in others} == {"stable"}
    assert [d.null for d in others if d.part == "score"] == [None]


@pytest.mark.parametrize("rows", [13, 50, 200])
def test_a_small_batch_is_not_called_drift(reference: Reference, seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    expected = reference.expected[AGE].counts
    readings = set()
    for _ in range(20):
        counts = rng.multinomial(rows, expected / expected.sum())
        complete = {**tally(reference).counts, AGE: counts}
        drifts = {d.title: d for d in measure(reference, Tally(rows, complete))}
        readings.add(drifts["age"].reading)
    assert readings <= {"stable", "by chance"}


def test_nothing_to_compare(reference: Reference) -> None:
    drifts = {d.title: d for d in measure(reference, tally(reference, city=[0, 0, 0, 0, 0]))}
    assert drifts["city"].reading == "no rows"
    assert drifts["city"].psi is None


def test_what_is_written(
    reference: Reference, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drifts = measure(reference, tally(reference, city=[300, 1_000, 0, 500, 200]))
    counted = tally(reference, city=[300, 1_000, 0, 500, 200])
    page = write_drift(drifts, tmp_path, "x.drift", reference, counted)
    assert capsys.readouterr().out == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.drift.html", "x.drift.json"]
    stored = json.loads((tmp_path / "x.drift.json").read_text())
    assert (stored["rows"], stored["floor"]) == (2_000, FLOOR)
    assert stored["drift"][0]["name"] == "city"
    page.show()
    printed = capsys.readouterr().out
    assert "drift of 2,000 rows" in printed
    assert "1 large" in printed


def read(reference: Reference, counted: Tally) -> Read:
    drifts = measure(reference, counted)
    return Read(drift_document(drifts, reference, counted, Table("all", ("of",), [])))


def test_the_html_page_has_the_numbers(reference: Reference, tmp_path: Path) -> None:
    counted = tally(reference, city=[300, 1_000, 0, 500, 200])
    drifts = measure(reference, counted)
    write_drift(drifts, tmp_path, "x.drift", reference, counted)
    stored = json.loads((tmp_path / "x.drift.json").read_text())["drift"]
    page = Read((tmp_path / "x.drift.html").read_text())
    rows = table(page, "all features and scores")
    assert [(row["of"], row["PSI"], row["reading"]) for row in rows] == [
        ({"score": "score of "}.get(d["part"], "") + d["name"], f"{d['psi']:.4f}", d["reading"])
        for d in stored
    ]
    assert page.paragraphs[0] == "1 of 3 features and scores have moved."
    city = stored[0]
    assert page.paragraphs[1] == (
        f"Large: city (PSI {city['psi']:.2f}, unknown 25.0% instead of 0.0%, null 10.0% instead of "
        "5.0%)."
    )
    assert page.pictures["The largest PSI"].tips[0] == f"{city['psi']:.2f} city: {city['psi']:.4g}"
    assert page.pictures["city"].tips == [
        "Bern, training: 0.6", "Bern, now: 0.15", "Oslo, training: 0.35", "Oslo, now: 0.5",
        "unknown, training: 0", "unknown, now: 0.25", "null, training: 0.05", "null, now: 0.1",
    ]  # fmt: skip
    assert not {"script", "link", "img"} & page.tags


def test_the_html_page_says_that_nothing_moved(reference: Reference) -> None:
    page = read(reference, tally(reference))
    assert page.paragraphs[0].startswith("Nothing has moved: all 3 features and scores are stable")
    assert {"age", "city", "score of click"} <= page.pictures.keys(), "the three largest"
    page = read(reference, tally(reference, city=[0] * 5))
    assert "Without values: city." in page.paragraphs


def test_many_categories_are_joined_and_names_are_texts(reference: Reference) -> None:
    hostile = "</svg><script>"
    names = (hostile, *(f"c{i}" for i in range(1, 40)))
    bins = CategoryBins(tuple(range(2, 42)), names, 42)
    then, now = np.arange(43)[::-1] * 100, np.arange(43) * 10
    key: Key = ("feature", hostile)
    page = read(Reference({key: Expected(bins, then)}, "valid"), Tally(10, {key: now}))
    tips = page.pictures[hostile].tips
    assert tips[0] == f"{hostile}, training: {then[0] / then.sum():.4g}"
    assert len(tips) == 2 * 15
    assert tips[-2].startswith("29 others, training: ")
    shares = [float(tip.rpartition(": ")[2]) for tip in tips]
    assert sum(shares[::2]) == pytest.approx(1, abs=1e-3)
    assert sum(shares[1::2]) == pytest.approx(1, abs=1e-3)
    assert "script" not in page.tags
