from __future__ import annotations

from pathlib import Path

import pytest

from recsys_mtl.errors import UserError
from recsys_mtl.lifecycle.gate import Gate, check_tasks, load_gate

READY = Path(__file__).parents[2] / "configs/gate.yaml"


def test_the_ready_file_spells_out_the_defaults() -> None:
    assert load_gate(READY) == load_gate(None) == Gate()
    written = {
        line.partition(":")[0] for line in READY.read_text().splitlines() if line[:1].isalpha()
    }
    assert written == set(Gate.model_fields)


def test_every_key_is_described() -> None:
    assert all(field.description for field in Gate.model_fields.values())


def test_a_task_has_limits_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text("worst: 0.01\ncalibration: 0.5\ntasks: {click: {worst: 0.0}}\n")
    gate = load_gate(path, ["tasks.buy.calibration=0.25", "mean=-1"])
    assert [gate.worst_of(task) for task in ("click", "buy", "else")] == [0.0, 0.01, 0.01]
    assert [gate.calibration_of(task) for task in ("click", "buy")] == [0.5, 0.25]
    assert gate.mean == -1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("worst: -0.1", r"gate.yaml:1: worst: value out of range; expected at least 0.*-0.1"),
        ("\nwurst: 1", r"gate.yaml:2: wurst: unknown key -> did you mean 'worst'\?"),
        ("mean: .nan", "mean: value out of range; expected a finite number"),
        ("mean: high", 'mean: wrong type; expected a number; found "high"'),
        ("strict: 1", "strict: wrong type; expected true or false"),
        ("resamples: 10", "resamples: value out of range; expected at least 100"),
        ("rows: 99", "rows: value out of range"),
        ("min_rows: 0", "min_rows: value out of range; expected more than 0"),
        ("tasks: {click: {mean: 1}}", "tasks.click.mean: unknown key"),
        ("tasks: [click]", "tasks: wrong type"),
        ("- worst", "not a config"),
    ],
)
def test_mistakes_are_reported_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load_gate(path)
    assert "\n" not in str(caught.value)


def test_a_wrong_override_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--set wurst=1: wurst: unknown key"):
        load_gate(None, ["wurst=1"])
    with pytest.raises(UserError, match="no such config file"):
        load_gate(tmp_path / "gate.yaml")


def test_tasks_are_those_of_the_champion() -> None:
    gate = Gate.model_validate({"tasks": {"clik": {"worst": 0.1}, "buy": {}, "x": {}}})
    check_tasks(gate, ["clik", "buy", "x"])
    with pytest.raises(UserError) as caught:
        check_tasks(gate, ["click", "buy"])
    first, second = (str(problem) for problem in caught.value.problems)
    assert first == "gate: tasks.clik: the champion has no such task -> did you mean 'click'?"
    assert second.startswith("gate: tasks.x")
