from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from recsys_mtl.vision.reproduction.load import load_reproduction
from recsys_mtl.vision.reproduction.plan import Reproduction
from recsys_mtl.vision.reproduction.recipe import (
    all_units,
    attention_recipe,
    method_recipe,
    sweep_recipe,
)

Make = Callable[..., Reproduction]
SWEEP = {"temperatures": [0.3, 0.6], "coefficients": [0.1, 0.2, 0.5], "epochs": 1}


def test_equal_runs_are_trained_once(make: Make) -> None:
    plan = make(attention={}, sweep=SWEEP)
    jobs = all_units(plan)
    keys = Counter(job.recipe.key for job in jobs)
    assert len(keys) == 3 + (3 * 2 - 1) + 2 * 3  # one attention is the method itself
    assert len({(job.recipe.key, job.seed, job.rerun) for job in jobs}) == len(jobs)
    assert len(jobs) == 8 * 2 * 2 + 6
    same = attention_recipe(plan, "cosine_squared", adaptive=True)
    assert same.key == method_recipe(plan, "cagt").key


def test_every_method_has_a_run_before_the_next_rerun(make: Make) -> None:
    order = [(job.rerun, job.seed) for job in all_units(make())]
    assert order == [(r, s) for r in (0, 1) for s in (3, 4) for _ in range(3)]


@pytest.mark.parametrize(
    ("override", "same"),
    [
        ("training.device=auto", True),
        ("published.methods.cagt.loss=[1.0]", True),
        ("reruns=1", True),
        ("training.epochs=3", False),
        ("training.learning_rate=0.1", False),
        ("weights.colour=0.6", False),
        ("model.width=8", False),
        ("dataset.rows.train=299", False),
        ("model={kind: resnet18}", False),
        ("methods.cagt.combiner.temperature=0.7", False),
        ("threshold.every=3", False),
    ],
)
def test_a_key_changes_with_what_determines_a_run(make: Make, override: str, same: bool) -> None:
    key = method_recipe(make(), "cagt").key
    assert (method_recipe(make(override), "cagt").key == key) is same


def test_the_sweep_has_settings_of_its_own(make: Make) -> None:
    plan = make(sweep=SWEEP | {"rows": {"train": 90, "test": 70}})
    recipe = sweep_recipe(plan, 0.3, 0.5)
    assert recipe.training.epochs == 1
    assert recipe.dataset.rows is not None
    assert recipe.dataset.rows.train == 90
    assert recipe.threshold is None
    options = recipe.method.combiner.model_dump()
    assert (options["temperature"], options["coefficient"], options["adaptive"]) == (
        0.3,
        0.5,
        False,
    )
    assert options["block_size"] == 50


def test_a_result_is_stored_under_its_key() -> None:
    plan = load_reproduction("rot-mnist")
    first = all_units(plan)[0]
    assert len(first.recipe.key) == 16
    expected = Path("out/units") / first.recipe.key / "seed-0-rerun-0.json"
    assert first.path(Path("out")) == expected
