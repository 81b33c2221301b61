from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from recsys_mtl.reports.output import plain
from recsys_mtl.study.run import train_batch
from recsys_mtl.vision.reproduction.images import Images
from recsys_mtl.vision.reproduction.recipe import RecipeUnit
from recsys_mtl.vision.reproduction.unit import recipe_trainer, train_unit

MakeJob = Callable[..., RecipeUnit]
COST = ("seconds", "step_ms", "peak_memory_mb")
ALONE: dict[str, Any] = {
    "methods": {"sum": {}, "single": {"alone": True}},
    "against": "single",
}


def numbers_of(unit: dict[str, Any]) -> str:
    """All but what it cost."""
    for epoch in unit["epochs"]:
        epoch["seconds"] = None
    return json.dumps(plain({key: value for key, value in unit.items() if key not in COST}))


@pytest.mark.slow  # trainings
@pytest.mark.parametrize("name", ["sum", "pcgrad", "cagt"])
def test_a_run_gives_the_same_numbers_twice(job: MakeJob, images: Images, name: str) -> None:
    one, two = (numbers_of(train_unit(job(name), images)) for _ in range(2))
    assert one == two
    assert one != numbers_of(train_unit(job(name, rerun=1), images))


def test_a_result_is_stored_in_full_and_strictly(job: MakeJob, tmp_path: Path) -> None:
    run = job("cagt")
    trainer = partial(recipe_trainer, None)
    ((_, unit),) = train_batch(trainer, [run], tmp_path)
    path = run.path(tmp_path)
    stored = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert stored == unit
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert stored["key"] == run.recipe.key
    assert stored["settings"]["method"]["combiner"]["temperature"] == 0.6
    assert stored["tasks"] == ["digit", "rotation", "colour"]
    assert stored["weights"] == [1.0, 0.8, 0.5]
    assert stored["images"] == [300, 110, 3, 8, 8]
    assert stored["epochs"][0]["auroc"] == [None, None, None]
    assert len(stored["blocks"]) == len(stored["epochs"][1]["conflicts"]["conflict_ratio"])
    assert stored["step_ms"] > 0


def test_shown_images_are_the_same_for_every_method(job: MakeJob, images: Images) -> None:
    one, two = (train_unit(job(name), images)["shown"] for name in ("sum", "pcgrad"))
    assert one["rows"] == two["rows"]
    assert one["true"] == two["true"]
    assert [len(answers) for answers in one["predicted"]] == [12] * 3
    row = one["rows"][4]
    assert [labels[4] for labels in one["true"]] == images.test.labels[row].tolist()  # type: ignore[attr-defined]


def test_single_tasks_are_put_together(job: MakeJob, images: Images) -> None:
    together = train_unit(job("sum", **ALONE), images)
    single = train_unit(job("single", **ALONE), images)
    assert single["parameters"] == 3 * together["parameters"]
    assert single["steps"] == together["steps"]
    assert len(single["looks"]) == 3
    for name in ("losses", "accuracy", "train_losses"):
        assert len(single["epochs"][-1][name]) == 3

    weights = {"digit": 1.0, "rotation": 1e-9, "colour": 1e-9}  # all but alone
    digit = train_unit(job("sum", **ALONE, weights=weights), images)
    assert single["epochs"][-1]["losses"][0] == pytest.approx(
        digit["epochs"][-1]["losses"][0], rel=1e-3
    )
    assert single["shown"]["predicted"][0] == digit["shown"]["predicted"][0]
    assert single["looks"][1][1][0] == pytest.approx(digit["looks"][1][1][0], rel=1e-3)
