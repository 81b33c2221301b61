"""The runs of a reproduction; equal ones are trained once.

A recipe is all that determines a training except its seed and rerun. Its key names the file of
the result: the tables of a plan share runs, and a plan may grow.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys_mtl.config.flat import flat
from recsys_mtl.config.section import Section
from recsys_mtl.study.plan import SeedsConfig
from recsys_mtl.study.unit import Unit, UnitResult
from recsys_mtl.vision.reproduction.plan import (
    AttentionName,
    BackboneConfig,
    Dataset,
    Method,
    Reproduction,
    Sweep,
    Threshold,
    Training,
)

WHERE: Any = {
    "training": {"device"},
    "dataset": {"cache", "workers", "only_present"},
    "model": {"weights"},
}
"""Where images and weights are, and where it is computed. Results hold the contents' digests."""


class Recipe(Section):
    """All that determines a training except its seed and rerun."""

    dataset: Dataset
    model: BackboneConfig
    weights: dict[str, float]
    training: Training
    method: Method
    threshold: Threshold | None = None

    def settings(self) -> dict[str, Any]:
        """Every key except those of `WHERE`."""
        return self.model_dump(exclude=WHERE)

    @property
    def key(self) -> str:
        """Sixteen hexadecimal digits; an option that later versions add does not change them."""
        data = self.model_dump(exclude=WHERE, exclude_defaults=True)
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class RecipeUnit(Unit):
    """One training of a recipe, or one a task where they are alone."""

    recipe: Recipe
    seed: int
    rerun: int

    @property
    def label(self) -> str:
        """The method, the beginning of its key, seed and rerun."""
        method = self.recipe.method
        name = method.balancing if method.combiner.name == "sum" else method.combiner.name
        name = "single tasks" if method.alone else name.replace("fixed", "sum")
        return f"{name} {self.recipe.key[:6]}, seed {self.seed}, rerun {self.rerun}"

    @property
    def identity(self) -> Mapping[str, str | int]:
        """The recipe's key, seed and rerun."""
        return {"key": self.recipe.key, "seed": self.seed, "rerun": self.rerun}

    def same_settings(self, result: UnitResult) -> bool:
        """A default that has changed since does not change the key, but it does change the run."""
        current, stored = flat(self.recipe.settings()), flat(result["settings"])
        return all(current[key] == stored[key] for key in current.keys() & stored.keys())


def method_recipe(plan: Reproduction, name: str) -> Recipe:
    """Of a method of the tables."""
    return _recipe(plan, plan.methods[name])


def attention_recipe(plan: Reproduction, attention: AttentionName, *, adaptive: bool) -> Recipe:
    """Of a cell of the table of attentions."""
    assert plan.attention is not None
    change = {"attention": attention, "adaptive": adaptive}
    return _recipe(plan, _changed(plan.methods[plan.attention.over], change))


def sweep_recipe(plan: Reproduction, temperature: float, coefficient: float) -> Recipe:
    """Of a point of the sweep."""
    sweep = plan.sweep
    assert sweep is not None
    change = {
        "temperature": float(temperature),
        "coefficient": float(coefficient),
        "adaptive": sweep.adaptive,
    }
    recipe = _recipe(plan, _changed(plan.methods[sweep.over], change))
    training = recipe.training.model_copy(update={"epochs": sweep.epochs})
    rows = sweep.rows or recipe.dataset.rows
    dataset = recipe.dataset.model_copy(update={"rows": rows})
    return recipe.model_copy(update={"training": training, "dataset": dataset, "threshold": None})


def points(sweep: Sweep) -> Iterator[tuple[float, float]]:
    """(temperature, coefficient) of the grid."""
    for temperature in sweep.temperatures:
        for coefficient in sweep.coefficients:
            yield temperature, coefficient


def all_units(plan: Reproduction) -> list[RecipeUnit]:
    """Every run once: those of the methods first, seed by seed, then attentions, then the sweep."""
    recipes = [method_recipe(plan, name) for name in plan.methods]
    runs = [*_runs(recipes, plan.seeds, plan.reruns)]
    if plan.attention is not None:
        recipes = [
            attention_recipe(plan, attention, adaptive=adaptive)
            for attention in plan.attention.attentions
            for adaptive in (True, False)
        ]
        runs += _runs(recipes, plan.seeds, plan.reruns)
    if plan.sweep is not None:
        recipes = [sweep_recipe(plan, *point) for point in points(plan.sweep)]
        runs += _runs(recipes, plan.sweep.seeds, plan.sweep.reruns)
    return list({run.path(Path()): run for run in runs}.values())


def _runs(recipes: list[Recipe], seeds: SeedsConfig, reruns: int) -> Iterator[RecipeUnit]:
    for rerun in range(reruns):
        for seed in seeds.values:
            for recipe in recipes:
                yield RecipeUnit(recipe, seed, rerun)


def _recipe(plan: Reproduction, method: Method) -> Recipe:
    return Recipe.model_construct(
        dataset=plan.dataset,
        model=plan.model,
        weights=dict(plan.weights),
        training=plan.training,
        method=method,
        threshold=plan.threshold,
    )


def _changed(method: Method, change: dict[str, Any]) -> Method:
    combiner = method.combiner.model_copy(update=change)
    return method.model_copy(update={"combiner": combiner})
