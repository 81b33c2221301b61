"""report.html of a training."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys_mtl.config import Config
from recsys_mtl.runs.report_figures import Labelled, budget_table, calibration_figure, event_figures
from recsys_mtl.runs.training_report import training_report
from recsys_mtl.training import Epoch
from recsys_mtl.training.evaluate import Scores
from recsys_mtl.training.history import Validation
from tests.pages import Read
from tests.toy import Toy


def drawn(rng: np.random.Generator, factor: float) -> Labelled:
    chance = rng.uniform(0.05, 0.6, 20_000)
    labels = (rng.random(20_000) < chance).astype(float)
    return Labelled(labels, chance * factor, np.ones(20_000))


def test_calibration_is_judged(rng: np.random.Generator) -> None:
    calibrated = calibration_figure("click", drawn(rng, 1.0), 15).chart.description
    assert calibrated.startswith("No sign of miscalibration: ")
    off = calibration_figure("click", drawn(rng, 1.3), 15).chart.description
    assert off.startswith("Not calibrated: 15 of 15 bins lie outside")
    total = re.search(r"total: ([0-9.]+) times", off)
    assert total is not None
    assert 1.27 < float(total[1]) < 1.33


def test_calibrated_models_are_seldom_called_off(rng: np.random.Generator) -> None:
    words = [
        calibration_figure("click", drawn(rng, 1.0), 15).chart.description.startswith("Not")
        for _ in range(100)
    ]
    assert sum(words) <= 5


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
    assert [figure.chart.title for figure in event_figures("click", rows, 5)] == [
        "click: calibration"
    ]


@pytest.fixture
def page(shared_toy: Toy, rng: np.random.Generator) -> str:
    config: Config = shared_toy.config()
    labels, weights = (rng.random(200) < 0.4).astype(float), np.ones(200)
    tasks: dict[str, Any] = {
        "click": {
            "kind": "binary", "labelled": 200,
            "metrics": {"auc": {"value": 0.8, "low": 0.75, "high": 0.85}},
        },
        "spend": {
            "kind": "regression", "labelled": 0,
            "metrics": {"rank_correlation": {"value": None, "reason": "no label"}},
        },
    }  # fmt: skip
    test = Scores(
        losses={}, labelled={"click": 200, "spend": 0}, metrics={},
        predictions={"click": labels * 0.2 + 0.3, "spend": weights},
        labels={"click": labels, "spend": weights * np.nan}, weights=weights, gates={},
    )  # fmt: skip
    matrix = [[[0.0, 0.4], [0.4, 0.0]]]
    epochs = [
        Epoch(
            number, {"click": 0.6}, {}, 1.0, 200, 0, 1.0,
            transfer={"affinity": matrix, "borrowed": {"spend": {"click": 0.25}}},
            validation=Validation(losses={"click": 0.5, "spend": None}),
        )
        for number in range(3)
    ]  # fmt: skip
    result = {
        "name": "<toy>", "seed": 0, "tasks": tasks,
        "training": {"best_epoch": 1},
        "data": {
            "rows": {"train": 100, "test": 200}, "warnings": ["'age' <leaks>"],
            "fingerprint": "f00", "unknown": {"city": 0.25, "seen": 0.0},
        },
    }  # fmt: skip
    others = {"constant": {"click": {"auc": 0.5}}, "trees": {"click": {"auc": 0.7}}}
    return training_report(config, result, test, others, epochs)


def test_a_page_says_what_to_conclude(page: str) -> None:
    assert "Against the best of its baselines the model is ahead on click." in page
    assert "The data gave 1 warnings: see Data." in page
    assert "Warning: &#x27;age&#x27; &lt;leaks&gt;" in page
    assert Read(page).tables["Unknown values of validation rows"][1:] == [["city", "25.00%"]]
    assert "Who borrows from whom" in page
    assert "&lt;toy&gt;: report of the training" in page
    titles = re.findall(r'<figcaption class="name">(.*?)</figcaption>', page)
    assert {"click: auc", "click: calibration", "click: ROC", "click: gain", "click: loss"} <= {
        *titles
    }
    assert len(page) < 200_000


@pytest.mark.slow  # trains
def test_a_training_writes_it(trained: Any) -> None:
    toy, _ = trained
    page = (Path(toy.folder) / "run/report.html").read_text()
    assert "toy: report of the training" in page
    assert "band: loss" in page
