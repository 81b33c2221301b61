from __future__ import annotations

import copy
from typing import Any

import pytest

from recsys_mtl.config import Config
from recsys_mtl.lifecycle.card import card, limits, shortened
from recsys_mtl.reports.lists import as_lists
from recsys_mtl.runs.trained import Trained


@pytest.fixture
def result(trained: Any) -> dict[str, Any]:
    """The result of the shared training, to be changed at will."""
    return copy.deepcopy(dict(trained[1]))


@pytest.fixture(scope="module")
def config(shared_toy: Any) -> Config:
    return shared_toy.config()


def limits_of(result: dict[str, Any]) -> list[str]:
    return limits(Trained("toy", result, {}, None, None))


def page(result: dict[str, Any], config: Config, name: str = "toy") -> str:
    trained = Trained("toy", result, {}, None, None)
    return as_lists(card(trained, config, name=name, model_uri="models:/m-7"))


def test_the_card_has_the_facts(result: dict[str, Any], config: Config) -> None:
    text = page(result, config)
    auc = result["tasks"]["click"]["metrics"]["auc"]
    assert auc["low"] < auc["value"] < auc["high"]
    interval = f"{auc['low']:.4f} to {auc['high']:.4f}"
    labelled = result["tasks"]["buy"]["labelled"]
    trained_on = result["training"]["epochs"][-1]["labelled"]["buy"]
    assert f"- **click auc**: value {auc['value']:.4f}, 95 % interval {interval}" in text
    assert (
        "- **buy**: kind binary, sample space click == 1, loss bce, "
        f"labelled training rows {trained_on}, labelled test rows {labelled}\n"
    ) in text
    assert "- **item**: kind retrieval, sample space all rows, loss cross-entropy," in text
    assert "- **numeric features**: 2\n" in text
    assert f"- **test rows**: {result['data']['rows']['test']}\n" in text
    assert "- Predicts, for a row: click, buy (binary).\n" in text
    assert "## Intended use" in text
    assert "\n|" not in text
    assert result["data"]["fingerprint"] in text
    assert 'mlflow.pyfunc.load_model("models:/m-7")' in text
    assert "--model models:/toy/VERSION" in text
    assert "- **click calibration_error**: value " in text
    assert "## Baselines" not in text
    assert "last epoch" not in text


def test_a_name_with_spaces_is_quoted(result: dict[str, Any], config: Config) -> None:
    assert "--model 'models:/my toy/VERSION'" in page(result, config, "my toy")


def test_intervals_are_shown_where_they_are(result: dict[str, Any], config: Config) -> None:
    result["tasks"]["spend"]["metrics"]["r2"] = {"value": 0.5, "low": 0.375, "high": 0.625}
    text = "- **spend r2**: value 0.5000, 95 % interval 0.3750 to 0.6250\n"
    assert text in page(result, config)


def test_an_undefined_metric(result: dict[str, Any], config: Config) -> None:
    result["tasks"]["buy"]["metrics"]["auc"] = {"value": None, "reason": "one class"}
    assert "- **buy auc**: value undefined\n" in page(result, config)


def test_baselines_are_next_to_the_model(result: dict[str, Any], config: Config) -> None:
    result["tasks"]["click"]["metrics"]["auc"] = {"value": 0.75}
    result["baselines"] = {"gradient_boosting": {"click": {"auc": {"value": 0.625}}}}
    models = {"click": [{"trees": 7, "settings": {"leaves": 15}}]}
    result["boosting"] = {"gradient_boosting": {"library": "L 1", "models": models}}
    text = page(result, config)
    assert "- **click auc**: model 0.7500, gradient boosting 0.6250\n" in text
    assert "gradient_boosting: L 1; leaves 15; trees: click 7" in text


def test_relations_of_the_last_epoch(result: dict[str, Any], config: Config) -> None:
    tasks = list(config.tasks)
    matrix = [[0.01 * (i + j) for j in range(5)] for i in range(5)]
    matrix[0][1] = matrix[1][0] = 0.75
    matrix[2][4] = matrix[4][2] = -0.5
    epoch = result["training"]["epochs"][-1]
    epoch["adatt"] = {"affinity": [matrix], "negative_transfer": {"band": ["item"]}}
    epoch["conflicts"] = {
        "pair_cosine": [[None if i == j else 0.125 for j in range(5)] for i in range(5)],
        "conflict_ratio": {"all": 0.25, "none": None},
    }
    epoch["adatt"]["borrowed"] = {"buy": {"click": 0.5, "band": 0.25}}
    text = page(result, config)
    assert "buy borrowed from click, band" in text
    assert f"- **{tasks[0]} {tasks[1]}**: affinity 0.750\n" in text
    assert f"- **{tasks[2]} {tasks[4]}**: affinity -0.500\n" in text
    assert "band blocks item" in text
    assert "- **click buy**: cosine 0.125\n" in text
    assert "25% of the pairs' gradients conflicted" in text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"interrupted": True}, "The training was interrupted"),
        ({"seed": 41}, "One seed (41)"),
        ({"data": {"warnings": ["age alone tells click"]}}, "Leakage warning: age alone"),
        ({"training": {"skipped_batches": 3}}, "3 batches were skipped"),
    ],
)
def test_limits_of_a_run(result: dict[str, Any], change: dict[str, Any], expected: str) -> None:
    for key, value in change.items():
        result[key] = result[key] | value if isinstance(value, dict) else value
    assert any(text.startswith(expected) for text in limits_of(result))


@pytest.mark.parametrize(
    ("task", "metrics", "expected"),
    [
        ("click", {"auc": {"value": 0.5}}, "click: no better than a constant (auc 0.5000)."),
        (
            "click",
            {"auc": {"value": 0.9}, "normalized_entropy": {"value": 1.25}},
            "click: no better than a constant (normalized_entropy 1.2500).",
        ),
        ("spend", {"r2": {"value": -0.25}}, "spend: no better than a constant (r2 -0.2500)."),
        (
            "band",
            {"mcfadden_r2": {"value": -0.375}},
            "band: no better than a constant (mcfadden_r2 -0.3750, the constant -0.1250).",
        ),
        (
            "band",
            {"mcfadden_r2": {"value": -0.0625}},
            "band: no better than a constant (mcfadden_r2 -0.0625).",
        ),
    ],
)
def test_tasks_worth_no_more_than_a_constant(
    result: dict[str, Any], task: str, metrics: dict[str, Any], expected: str
) -> None:
    result["baselines"] = {"constant": {"band": {"mcfadden_r2": {"value": -0.125}}}}
    result["tasks"] = {task: result["tasks"][task] | {"metrics": metrics, "labelled": 200}}
    assert limits_of(result)[0] == expected


def test_a_good_task_has_no_limit(result: dict[str, Any]) -> None:
    metrics = {"auc": {"value": 0.75}, "normalized_entropy": {"value": 0.875}}
    result["tasks"] = {"click": {"kind": "binary", "metrics": metrics, "labelled": 200}}
    assert len(limits_of(result)) == 1
    result["tasks"]["click"]["labelled"] = 199
    assert limits_of(result)[0] == "click: only 199 labelled test rows."


def test_a_long_text_is_cut_at_a_line() -> None:
    text = "\n".join(f"line {number}" for number in range(100))
    cut = shortened(text, 60, "more elsewhere")
    assert len(cut) <= 60
    assert cut.endswith("\n\nmore elsewhere")
    assert cut.removesuffix("\n\nmore elsewhere") == text[: text.index("\nline 6")]
    assert shortened("short", 60, "more elsewhere") == "short"
