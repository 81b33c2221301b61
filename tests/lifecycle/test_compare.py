from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from recsys_mtl.errors import UserError
from recsys_mtl.lifecycle.compare import compare, first
from recsys_mtl.lifecycle.gate import Gate
from recsys_mtl.lifecycle.rows import LoadedVersion
from recsys_mtl.serving.bundle import load_bundle
from recsys_mtl.serving.predictor import Predictor

Trained = tuple[Any, dict[str, Any]]
GATE = Gate.model_validate({"resamples": 100, "min_rows": 20, "rows": 100})


@pytest.fixture
def models(trained: Trained) -> tuple[LoadedVersion, LoadedVersion]:
    """The trained challenger, and a champion that knows nothing."""
    folder = trained[0].run / "model"
    blind = load_bundle(folder)
    with torch.no_grad():
        for parameter in blind.network.parameters():
            parameter.mul_(0.01)
    return LoadedVersion("challenger, version 2", load_bundle(folder)), LoadedVersion(
        "champion, version 1", blind
    )


def test_all_tasks_are_compared(models: tuple[LoadedVersion, LoadedVersion]) -> None:
    comparison = compare(GATE, *models, input=None, data=None)
    assert comparison.evidence is not None
    assert [*comparison.evidence.tasks] == ["click", "buy", "band", "spend", "item"]
    assert (comparison.count, comparison.evidence.used) == (123, 100)
    assert comparison.rows == "the challenger's test split"
    assert [*comparison.metrics] == ["champion", "challenger"]
    assert any("100 of 123 rows were drawn" in note for note in comparison.notes)
    assert not any("favours" in note for note in comparison.notes)


def test_the_same_model_gains_nothing(models: tuple[LoadedVersion, LoadedVersion]) -> None:
    challenger, _ = models
    comparison = compare(GATE, challenger, challenger, input=None, data=None)
    assert comparison.evidence is not None
    assert {task.gain.value for task in comparison.evidence.tasks.values()} == {0.0}
    assert not comparison.decision.passed


def test_rows_of_the_training_are_noted(
    trained: Trained, models: tuple[LoadedVersion, LoadedVersion], caplog: pytest.LogCaptureFixture
) -> None:
    toy, _ = trained
    comparison = compare(GATE, *models, input=str(toy.data), data=None)
    assert (comparison.count, comparison.rows) == (500, f"all rows of {toy.data}")
    remarks = [note for note in comparison.notes if "the comparison favours it" in note]
    assert [("challenger" in note, "champion" in note) for note in remarks] == [
        (True, False),
        (False, True),
    ]
    assert caplog.text.count("favours") == 2


def test_the_gate_names_tasks_of_the_champion(models: tuple[LoadedVersion, LoadedVersion]) -> None:
    gate = Gate.model_validate({"tasks": {"clik": {}}})
    with pytest.raises(UserError, match="did you mean 'click'"):
        compare(gate, *models, input=None, data=None)


def test_a_first_champion_is_measured_where_it_can_be(
    trained: Trained,
    models: tuple[LoadedVersion, LoadedVersion],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    challenger, _ = models
    comparison = first(challenger, input=None, data=None)
    assert comparison.decision.passed
    assert comparison.decision.reason == "first champion"
    assert comparison.count == 123
    assert comparison.metrics["challenger"].keys() == {"click", "buy", "band", "spend", "item"}
    with caplog.at_level(logging.WARNING):
        nowhere = first(challenger, input=None, data=str(tmp_path))
    assert nowhere.decision.passed
    assert (nowhere.count, nowhere.metrics) == (0, {})
    assert nowhere.notes[0].startswith("Not measured: challenger, version 2: ")
    assert "the first champion is not measured" in caplog.text
    with pytest.raises(UserError, match="challenger, version 2"):
        first(challenger, input=str(tmp_path / "none.parquet"), data=None)


def test_catalogues_of_different_size_are_noted(
    trained: Trained, models: tuple[LoadedVersion, LoadedVersion]
) -> None:
    challenger, champion = models
    stored = challenger.predictor.preprocessor.labels
    smaller = load_bundle(trained[0].run / "model")
    smaller.preprocessor.labels["item"].items = stored["item"].items[:-1]  # type: ignore[attr-defined]
    smaller = Predictor(smaller.config, smaller.preprocessor, smaller.network, smaller.fingerprint)
    comparison = compare(
        GATE, challenger, LoadedVersion(champion.title, smaller), input=None, data=None
    )
    assert "item: 4 items can be retrieved, the champion's catalogue has 3." in comparison.notes
    assert comparison.evidence is not None
    assert "item" in comparison.evidence.tasks
