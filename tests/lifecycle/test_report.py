from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recsys_mtl.lifecycle.compare import ModelComparison
from recsys_mtl.lifecycle.decide import FIRST, Decision, decide
from recsys_mtl.lifecycle.evidence import Evidence, TaskEvidence
from recsys_mtl.lifecycle.gate import Gate
from recsys_mtl.lifecycle.report import make_page, numbers
from recsys_mtl.metrics import Undefined
from recsys_mtl.metrics.bootstrap import Interval
from recsys_mtl.reports.output import write_result

Make = Callable[..., Any]
GATE = Gate.model_validate({"tasks": {"click": {"worst": 0.25}}})
METRICS = {"click": {"auc": 0.75, "pr_auc": Undefined("why")}}


@pytest.fixture
def versions(make_registry: Make) -> dict[str, Any]:
    registry = make_registry()
    roles = {"champion": "shop/1", "challenger": "shop/2"}
    return {role: registry.resolve(model, where="") for role, model in roles.items()}


@pytest.fixture
def comparison() -> ModelComparison:
    tasks = {
        "click": TaskEvidence(
            "binary", 1234, (0.7, 0.75), Interval(0.05, 0.04, 0.0625), (0.01, 0.5),
            growth=Interval(0.49, 0.4, 0.6),
        ),
        "spend": TaskEvidence("regression", 3, ungated="3 labelled rows, fewer than 200"),
    }  # fmt: skip
    mean = Interval(0.05, 0.04, 0.0625)
    evidence = Evidence(5000, 4000, tasks, mean, {"band": "the challenger lacks it"}, ("new",))
    return ModelComparison(
        decide(GATE, evidence), "all rows of x", 5000, "f00",
        {"champion": METRICS, "challenger": METRICS}, evidence, ("A note.",),
    )  # fmt: skip


def test_the_page_reports_versions_reasons_and_rules(
    versions: dict[str, Any], comparison: ModelComparison
) -> None:
    text = make_page(GATE, versions, comparison, dry_run=True).markdown()
    assert "Version 2 of shop: rejected, band: the challenger lacks it; click: calib" in text
    assert "A dry run: nothing in the registry was changed." in text
    assert "| champion | 1 | run | 2026-01-01T00:00+00:00 |  |" in text
    gain = "+0.0500 [+0.0400, +0.0625]"
    assert f"| click | auc | fails | 1,234 | 0.7000 | 0.7500 | {gain} | 0.0100 → 0.5000 |" in text
    assert "| spend | rank_correlation | not judged | 3 |  |  |  |  |" in text
    assert "| band |  | cannot be compared |" in text
    assert "spend is not judged: 3 labelled rows, fewer than 200." in text
    assert "| tasks.click | worst 0.25, calibration 0.02 |" in text
    assert "| click | auc | 0.7500 | 0.7500 |\n|  | pr_auc |  |  |" in text
    assert "A note." in text


def test_a_first_champion(versions: dict[str, Any]) -> None:
    alone = versions | {"champion": None}
    page = make_page(GATE, alone, ModelComparison(Decision((), FIRST), "x"), dry_run=False)
    assert "Version 2 of shop: passes, first champion." in page.markdown()
    assert "| champion | none |" in page.markdown()
    assert "dry run" not in page.markdown()


def test_numbers_are_strict_json(
    versions: dict[str, Any], comparison: ModelComparison, tmp_path: Path
) -> None:
    written = numbers(GATE, versions, comparison, dry_run=False)
    stored = json.loads(write_result(tmp_path, written).read_text())
    assert stored["decision"]["failures"][0] == "band: the challenger lacks it"
    assert (stored["decision"]["passed"], stored["decision"]["first"]) == (False, False)
    assert stored["challenger"]["number"] == 2
    assert stored["gate"]["tasks"]["click"]["worst"] == 0.25
    task = stored["evidence"]["tasks"]["click"]
    assert task["gain"] == {"value": 0.05, "low": 0.04, "high": 0.0625}
    assert stored["evidence"]["tasks"]["spend"]["scores"] == [None, None]
    assert stored["metrics"]["champion"]["click"]["pr_auc"] == {"value": None, "reason": "why"}
    assert stored["rows"] == {"told": "all rows of x", "count": 5000, "fingerprint": "f00"}
    first = numbers(GATE, versions | {"champion": None}, comparison, dry_run=False)
    assert first["champion"] is None
