from __future__ import annotations

from pathlib import Path

import pytest

from recsys_mtl.config import yaml_text
from recsys_mtl.config.section import Section
from recsys_mtl.errors import UserError
from recsys_mtl.study.plan import changed_keys, held_plan


class Plan(Section):
    name: str
    rows: int = 10


def held(plan: Plan, out: Path) -> Plan | None:
    return held_plan(
        plan, out / "experiment.yaml", same="the same name",
        differences=lambda held: changed_keys(held, plan, ("name", "rows")),
    )  # fmt: skip


def test_a_new_or_empty_folder_holds_nothing(tmp_path: Path) -> None:
    assert held(Plan(name="a"), tmp_path) is None
    assert held(Plan(name="a"), tmp_path / "new") is None


def test_the_plan_that_it_was_begun_for(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(yaml_text.dump({"name": "a"}))  # rows came later
    assert held(Plan(name="a"), tmp_path) == Plan(name="a")
    with pytest.raises(UserError) as caught:
        held(Plan(name="b", rows=3), tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: the folder holds another experiment; expected the same name; "
        "found another name, rows -> give another --out, or delete the folder"
    )


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"holds other files; .* same experiment .* found notes"):
        held(Plan(name="a"), tmp_path)
