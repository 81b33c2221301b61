from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recsys_mtl.errors import UserError
from recsys_mtl.files import atomic_write
from recsys_mtl.study.unit import missing, stored
from recsys_mtl.vision.reproduction.plan import Reproduction
from recsys_mtl.vision.reproduction.recipe import RecipeUnit
from recsys_mtl.vision.reproduction.reproduce import check_images

Make = Callable[..., Reproduction]
MakeJob = Callable[..., RecipeUnit]
MakeUnit = Callable[..., dict[str, Any]]


@pytest.fixture
def store(tmp_path: Path, unit: MakeUnit) -> Callable[..., Path]:
    """Stores a job's result, with keys changed."""

    def store(job: RecipeUnit, **change: Any) -> Path:
        content = unit(job.recipe.key, job.seed, job.rerun, [1.0, 1.0, 1.0])
        content |= {"settings": job.recipe.settings()} | change
        return atomic_write(job.path(tmp_path), json.dumps(content))

    return store


def test_results_are_read_and_missed(
    job: MakeJob, store: Callable[..., Path], tmp_path: Path
) -> None:
    first, second, third = job("sum"), job("cagt"), job("sum", rerun=1)
    store(first)
    store(third)
    assert missing([first, second, third], tmp_path) == [second]
    results = stored([first, second, third], tmp_path)
    assert [(unit["key"], unit["rerun"]) for _, unit in results] == [
        *((first.recipe.key, 0), (first.recipe.key, 1))
    ]


@pytest.mark.parametrize(
    "change", [{"key": "0" * 16}, {"rerun": 1}, {"settings": {"training": {"epochs": 3}}}]
)
def test_another_result_is_refused(
    job: MakeJob, store: Callable[..., Path], tmp_path: Path, change: dict[str, Any]
) -> None:
    path = store(job("sum"), **change)
    with pytest.raises(UserError, match=rf"{path}: not the result of that run.*delete it"):
        stored([job("sum")], tmp_path)


def test_half_a_file_is_refused(job: MakeJob, store: Callable[..., Path], tmp_path: Path) -> None:
    path = store(job("sum"))
    path.write_text(path.read_text()[:50])
    with pytest.raises(UserError, match=r"not the result of that run.*found JSONDecodeError"):
        stored([job("sum")], tmp_path)


def test_an_option_that_came_later_is_no_other_run(
    job: MakeJob, store: Callable[..., Path], tmp_path: Path
) -> None:
    settings = job("cagt").recipe.settings()
    del settings["method"]["combiner"]["preserve_norm"]
    store(job("cagt"), settings=settings)
    assert len(stored([job("cagt")], tmp_path)) == 1


def test_results_of_other_images_are_refused(make: Make, unit: MakeUnit) -> None:
    def check(results: list[dict[str, Any]], rows: int, identity: str) -> None:
        images: Any = SimpleNamespace(train=range(rows), test=range(110), identity=identity)
        check_images(make(), images, results)

    units = [unit("k", 3, 0, [1.0]), unit("k", 4, 0, [1.0], identity="another seed's")]
    check(units, 300, "one-two")
    check(units, 200, "of other rows")
    with pytest.raises(UserError, match=r"results of other images.*found hand"):
        check(units, 300, "one-three")
    mixed = [*units, unit("k", 4, 1, [1.0], images=[300, 110, 3, 28, 28])]
    with pytest.raises(UserError, match="results of other images"):
        check(mixed, 300, "one-two")
