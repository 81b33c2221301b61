from __future__ import annotations

import re

import pytest
from rich.console import Console

from recsys_mtl.metrics import Metrics, Undefined
from recsys_mtl.reports import results
from recsys_mtl.reports.results import ResultTable, boosting_note


def test_a_table_of_tasks_and_models(capsys: pytest.CaptureFixture[str]) -> None:
    model: dict[str, Metrics] = {
        "click": {"auc": 0.71234, "log_loss": 0.5, "normalized_entropy": 0.9},
        "item": {"recall_at_5": 0.25, "mrr": 0.125},
    }
    boosting: dict[str, Metrics] = {
        "click": {"auc": 0.7, "log_loss": 0.51, "normalized_entropy": 0.91},
        "item": dict.fromkeys(model["item"], Undefined("no items")),
    }
    columns = {"model": model, "gradient_boosting": boosting}
    ResultTable("test rows", {"click": "binary", "item": "retrieval"}, columns).show()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["test", "rows"]
    assert ["click", "auc", "0.7123", "0.7000"] in lines
    assert ["log_loss", "0.5000", "0.5100"] in lines
    assert ["item", "recall_at_5", "0.2500", "undefined"] in lines
    assert ["mrr", "0.1250", "undefined"] in lines
    assert not any("normalized_entropy" in line for line in lines)
    assert not any("interval" in line for line in lines)


@pytest.mark.parametrize(
    ("baselines", "terminal", "shown"), [(7, False, True), (2, True, True), (7, True, False)]
)
def test_intervals_are_next_to_the_model_where_there_is_room(
    baselines: int,
    terminal: bool,
    shown: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if terminal:
        console = Console(width=100, force_terminal=True, no_color=True, highlight=False)
        monkeypatch.setattr(results, "terminal", lambda **_: console)
    model: dict[str, Metrics] = {"spending_category": {"auc": 0.71234, "log_loss": 0.5}}
    columns = {"model": model, **{f"baseline_{i}": model for i in range(baselines)}}
    intervals = {"spending_category": {"auc": (0.70126, 0.72341)}}
    ResultTable("rows", {"spending_category": "binary"}, columns, intervals=intervals).show()
    text = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    auc, loss = (
        next(line.split() for line in text.splitlines() if name in line.split())
        for name in ("auc", "log_loss")
    )
    own = ["0.7123", "0.7013", "to", "0.7234"] if shown else ["0.7123"]
    assert auc == ["spending_category", "auc", *own, *["0.7123"] * baselines]
    assert loss == ["log_loss", *["0.5000"] * (1 + baselines)]


def test_a_title_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("[/b]x", "[bold]y", ":smile:"):
        ResultTable(text, {}, {"model": {}}, caption=text).show()
        assert capsys.readouterr().out.count(text) == 2


def test_the_note_names_library_settings_and_trees() -> None:
    def model(trees: int, **settings: object) -> dict[str, object]:
        return {"trees": trees, "settings": settings}

    models = {"click": [model(3, leaves=15, rate=0.1)], "item": []}
    same = {"library": "L 1", "models": models}
    value = [model(5, leaves=15, rate=0.1), model(6, leaves=7, rate=0.1)]
    other = {"library": "L 1", "models": {**models, "value": value}}
    none = {"library": "L 2", "models": {"item": []}}
    assert boosting_note({"a": same, "b": other, "c": none}).splitlines() == [
        "a: L 1; leaves 15, rate 0.1; trees: click 3",
        "b: L 1; settings by task in result.json; trees: click 3, value 5 + 6",
        "c: L 2; trees: none",
    ]
    assert boosting_note({}) == ""
