from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recsys_mtl.errors import UserError
from recsys_mtl.files import atomic_write
from recsys_mtl.study.unit import missing, stored
from recsys_mtl.vision.reproduction.images import Images, open_images
from recsys_mtl.vision.reproduction.plan import Reproduction
from recsys_mtl.vision.reproduction.recipe import RecipeUnit, all_units, method_recipe
from recsys_mtl.vision.reproduction.reproduce import check_origin

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


def test_results_of_other_images_or_weights_are_refused(
    make: Make, unit: MakeUnit, images: Images, tmp_path: Path
) -> None:
    plan = make()
    units = all_units(plan)
    key = method_recipe(plan, "sum").key
    other_seed = open_images(plan.dataset, None, seed=4).identity
    own = unit(key, 3, 0, [1.0], identity=images.identity)
    mine = [own, unit(key, 4, 0, [1.0], identity=other_seed, images=[1, 1, 3, 8, 8])]

    def check(*others: dict[str, Any], weights: str | None = None) -> None:
        check_origin(units, tmp_path, None, weights, [*mine, *others])

    check()
    check(own | {"initial_weights": None})
    with pytest.raises(UserError, match=rf"other images;.*found 1 of 3 .*such as {key}/seed-4"):
        check(unit(key, 4, 1, [1.0], identity=images.identity))
    with pytest.raises(UserError, match=r"results of other weights;.*found 2 of 2 results"):
        check(weights="abc")
    with pytest.raises(UserError, match=r"results of other weights;.*found 1 of 3 results"):
        check(own | {"initial_weights": "abc"})
