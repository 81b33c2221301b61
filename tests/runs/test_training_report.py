"""report.html of a training."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys_mtl.config import Config
from recsys_mtl.model import GateUse
from recsys_mtl.reports.page import Table
from recsys_mtl.runs.report_figures import (
    CalibrationBins,
    Labelled,
    budget_table,
    event_figures,
)
from recsys_mtl.runs.report_model import features
from recsys_mtl.runs.report_results import description, lead, results
from recsys_mtl.runs.training_report import training_report
from recsys_mtl.training import Epoch
from recsys_mtl.training.evaluate import Scores
from recsys_mtl.training.history import Validation
from tests.pages import Read, table
from tests.toy import Toy


def drawn(rng: np.random.Generator, factor: float) -> Labelled:
    chance = rng.uniform(0.05, 0.6, 20_000)
    labels = (rng.random(20_000) < chance).astype(float)
    return Labelled(labels, chance * factor, np.ones(20_000))


def test_calibration_is_judged(rng: np.random.Generator) -> None:
    calibrated = CalibrationBins.of(drawn(rng, 1.0), 15).verdict()
    assert calibrated.startswith("No sign of miscalibration: ")
    off = CalibrationBins.of(drawn(rng, 1.3), 15).verdict()
    assert off.startswith("Not calibrated: 15 of 15 bins lie outside")
    total = re.search(r"total: ([0-9.]+) times", off)
    assert total is not None
    assert 1.27 < float(total[1]) < 1.33


def test_a_wrong_total_is_no_calibration() -> None:
    """Each bin alone could be chance."""
    chance = np.repeat(np.linspace(0.1, 0.4, 30), 100)
    labels = (np.tile(np.arange(100), 30) < 100 * chance + 3).astype(float)
    text = CalibrationBins.of(Labelled(labels, chance, np.ones(3000)), 30).verdict()
    assert text.startswith("Not calibrated: 0 of 30 bins lie outside")
    assert "times what was, more than chance explains." in text


def test_calibrated_models_are_seldom_called_off(rng: np.random.Generator) -> None:
    words = [
        CalibrationBins.of(drawn(rng, 1.0), 15).verdict().startswith("Not") for _ in range(100)
    ]
    assert sum(words) <= 5


@pytest.mark.parametrize("weighing", ["lognormal", "one in ten weighs ten"])
def test_weights_do_not_call_a_calibrated_model_off(
    rng: np.random.Generator, weighing: str
) -> None:
    """They leave fewer effective rows: alarms are as seldom as without weights."""
    outside, alarms = [], 0
    for _ in range(100):
        rows = drawn(rng, 1.0)
        heavy = rng.choice([1.0, 10.0], 20_000, p=[0.9, 0.1])
        weights = np.exp(rng.normal(size=20_000)) if weighing == "lognormal" else heavy
        bins = CalibrationBins.of(replace(rows, weights=weights), 15)
        alarms += bins.verdict().startswith("Not")
        outside.append(bins.outside.mean())
    assert alarms <= 5
    assert 0.03 < np.mean(outside) < 0.07
    assert bins.count.sum() == pytest.approx(weights.sum() ** 2 / (weights**2).sum(), rel=0.05)


def test_a_budget_finds_what_a_literal_count_finds(rng: np.random.Generator) -> None:
    rows = drawn(rng, 1.0)
    table = budget_table("click", rows)
    assert table is not None
    line = next(line for line in table.rows if line[0] == "10%")
    best = np.argsort(-rows.predicted)[:2000]
    assert line[3] == f"{rows.labels[best].sum() / rows.labels.sum():.1%}"
    assert line[4] == f"{rows.labels[best].mean():.1%}"


def test_one_class_leaves_the_calibration() -> None:
    rows = Labelled(np.zeros(30), np.linspace(0.1, 0.4, 30), np.ones(30))
    bins = CalibrationBins.of(rows, 5)
    assert [figure.chart.title for figure in event_figures("click", rows, bins)] == [
        "click: calibration"
    ]


HOSTILE = "</svg><script>alert(1)</script>"


@pytest.fixture
def result() -> dict[str, Any]:
    apart = {"value": 0.1, "low": 0.05, "high": 0.15}
    entries = {"value": 0.7, "low": 0.65, "high": 0.75, "difference": apart}
    drops = [(HOSTILE, 0.2, 0.1, 0.3), ("age", -0.01, None, None), ("city", None, None, None)]
    keys = ("feature", "drop", "low", "high")
    return {
        "name": "<toy>", "seed": 0, "training": {"best_epoch": 1},
        "tasks": {
            "click": {
                "kind": "binary", "labelled": 200,
                "metrics": {"auc": {"value": 0.8, "low": 0.75, "high": 0.85}},
            },
            "spend": {
                "kind": "regression", "labelled": 0,
                "metrics": {"rank_correlation": {"value": None, "reason": "no label"}},
            },
        },
        "data": {
            "rows": {"train": 100, "test": 200}, "warnings": ["'age' <leaks>"],
            "fingerprint": "f00", "unknown": {"city": 0.25, "seen": 0.0},
        },
        "baselines": {
            "constant": {"click": {"auc": {"value": 0.5}}},
            "trees": {"click": {"auc": entries}, "spend": {"rank_correlation": {"value": None}}},
        },
        "importance": {
            "rows": 200, "parts": 10,
            "tasks": {"click": [dict(zip(keys, of, strict=True)) for of in drops]},
        },
    }  # fmt: skip


@pytest.fixture
def html(shared_toy: Toy, rng: np.random.Generator, result: dict[str, Any]) -> str:
    config: Config = shared_toy.config()
    labels, weights = (rng.random(200) < 0.4).astype(float), np.ones(200)
    gates = {"click": GateUse({"shared.0": 0.75, "click.0": 0.25}, 0.5, ("click.0",))}
    test = Scores(
        losses={}, labelled={"click": 200, "spend": 0}, metrics={},
        predictions={"click": labels * 0.2 + 0.3, "spend": weights},
        labels={"click": labels, "spend": weights * np.nan}, weights=weights, gates=gates,
    )  # fmt: skip
    matrix = [[[0.0, 0.4], [0.4, 0.0]]]
    epochs = [
        Epoch(
            number, {"click": 0.6}, {}, 1.0, 200, 0, 1.0,
            transfer={"affinity": matrix, "borrowed": {"spend": {"click": 0.25}}},
            validation=Validation(losses={"click": 0.5, "spend": None}, gates=gates),
        )
        for number in range(3)
    ]  # fmt: skip
    return training_report(config, result, test, epochs)


def test_a_page_says_what_to_conclude(html: str) -> None:
    page = Read(html)
    assert page.headings[0] == "<toy>: report of the training"
    assert "Against the best of its baselines the model is ahead on click." in page.paragraphs
    assert any("The data gave 1 warnings: see Data." in text for text in page.paragraphs)
    assert "Warning: 'age' <leaks>" in page.paragraphs
    assert page.tables["Unknown values of validation rows"][1:] == [["city", "25.00%"]]
    titles = ("auc", "calibration", "ROC", "gain", "loss", "gate", "what it uses")
    assert {f"click: {title}" for title in titles} <= page.pictures.keys()
    assert all(picture.description for picture in page.pictures.values())
    assert "script" not in page.tags
    assert len(html) < 200_000


def test_a_page_has_the_numbers_of_the_result(html: str, result: dict[str, Any]) -> None:
    page = Read(html)
    tips = [f"model: {0.8:.4g} [0.75, 0.85]", "trees: 0.7 [0.65, 0.75]"]
    assert page.pictures["click: auc"].tips == tips
    apart = {row["baseline"]: row for row in table(page, "Model minus baseline")}
    assert apart["trees"]["model minus baseline"] == "+0.1000 [+0.0500, +0.1500]"
    assert apart["trees"]["the model is"] == "ahead"
    (click, spend) = table(page, "All metrics")
    assert (click["model"], click["trees"], click["constant"]) == ("0.8000", "0.7000", "0.5000")
    assert {spend[key] for key in ("model", "low", "trees", "constant")} == {""}
    drops = table(page, "Importance of all features")
    assert [row["drop"] for row in drops] == ["+0.2000", "-0.0100", ""]
    assert page.pictures["click: what it uses"].tips == [
        f"{HOSTILE}: 0.2 [0.1, 0.3]", "age: -0.01",
    ]  # fmt: skip


def test_a_page_has_the_bins_of_the_calibration(html: str) -> None:
    page = Read(html)
    rows = table(page, "click: calibration")
    counted = [f"{r['effective rows']} effective rows: predicted {r['mean prediction']}, "
               f"positive {r['positives']}" for r in rows]  # fmt: skip
    assert page.pictures["click: calibration"].tips == counted
    assert sum(int(row["effective rows"]) for row in rows) == 200


def test_a_page_shows_experts_and_who_borrows(html: str) -> None:
    page = Read(html)
    assert table(page, "Who listens to whom")[0]["shared.0"] == "0.750"
    assert "Hardly used, below 1 %: click: click.0." in page.paragraphs
    assert "spend borrows from click." in page.paragraphs
    assert page.tables["Who borrows from whom"][1:] == [["spend", "click", "0.250"]]
    assert page.pictures["Who borrows from whom"].tips == ["spend, click: +0.25"]
    assert page.pictures["Affinity of the tasks' gradients"].tips == [
        "click, spend: +0.4", "spend, click: +0.4",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("apart", "word"),
    [({"low": -0.2, "high": -0.1}, "behind"), ({"low": -0.1, "high": 0.2}, "level")],
)
def test_the_difference_decides_not_the_intervals(
    result: dict[str, Any], apart: dict[str, float], word: str
) -> None:
    result["baselines"]["trees"]["click"]["auc"]["difference"] = {"value": 0.0, **apart}
    assert f"the model is {word} on click." in lead(result)[1]
    assert "best baseline: trees, 0.7000" in description(result)


def test_without_baselines_and_importance(result: dict[str, Any]) -> None:
    result |= {"baselines": {}}
    del result["importance"]
    assert "train --baselines" in lead(result)[1]
    assert features(result) == []
    assert [part.title for part in results(result) if isinstance(part, Table)] == ["All metrics"]


@pytest.mark.slow  # trains
def test_a_training_writes_it(trained: Any) -> None:
    toy, stored = trained
    page = Read((Path(toy.folder) / "run/report.html").read_text())
    assert page.headings[0] == "toy: report of the training"
    rows = table(page, "Importance of all features")
    given = stored["importance"]["tasks"]
    assert [(row["task"], row["feature"]) for row in rows] == [
        (task, entry["feature"]) for task, entries in given.items() for entry in entries
    ]
    metrics = table(page, "All metrics")
    for row in metrics:
        value = stored["tasks"][row["task"]]["metrics"][row["metric"]]["value"]
        assert row["model"] == ("" if value is None else f"{value:.4f}")
