"""A tiny reproduction on scikit-learn's digits, and results of runs made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys_mtl.cli.main import main
from recsys_mtl.vision.reproduction.images import Images, open_images
from recsys_mtl.vision.reproduction.load import load_reproduction
from recsys_mtl.vision.reproduction.plan import Reproduction
from recsys_mtl.vision.reproduction.recipe import (
    RecipeUnit,
    attention_recipe,
    method_recipe,
    points,
    sweep_recipe,
)

Make = Callable[..., Reproduction]
MakeUnit = Callable[..., dict[str, Any]]


@pytest.fixture
def tiny() -> dict[str, Any]:
    """The file of a tiny reproduction."""
    return {
        "name": "tiny",
        "dataset": {"kind": "rot_mnist", "rows": {"train": 300, "test": 110}},
        "model": {"kind": "small_cnn", "channels": [4, 6], "width": 7},
        "weights": {"digit": 1.0, "rotation": 0.8, "colour": 0.5},
        "training": {"epochs": 2, "batch_size": 64, "device": "cpu"},
        "seeds": {"first": 3, "count": 2},
        "reruns": 2,
        "methods": {
            "sum": {},
            "pcgrad": {"combiner": {"name": "pcgrad"}},
            "cagt": {"combiner": {"name": "cagt", "block_size": 50}},
        },
        "threshold": {"loss": 3.9, "every": 2, "images": 40, "limit": 7},
        "published": {
            "methods": {
                "pcgrad": {"loss": [0.2957, 0.011], "accuracy": {"digit": [92.14, 0.02]}},
                "cagt": {"loss": [0.2525], "steps": 883.89},
            },
        },
        "tracking": {"enabled": False},
    }


@pytest.fixture
def make(tmp_path: Path, tiny: dict[str, Any]) -> Make:
    """A reproduction: the tiny one with keys changed, read from a file."""

    def make(*overrides: str, **keys: Any) -> Reproduction:
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump(tiny | keys, sort_keys=False))
        return load_reproduction(path, overrides)

    return make


@pytest.fixture
def images(make: Make) -> Images:
    """Those of the tiny one."""
    return open_images(make().dataset, None, seed=3)


@pytest.fixture
def job(make: Make) -> Callable[..., RecipeUnit]:
    """A run of a method of the tiny one, or of one with keys changed."""

    def job(name: str, *, rerun: int = 0, **keys: Any) -> RecipeUnit:
        return RecipeUnit(method_recipe(make(**keys), name), 3, rerun)

    return job


@pytest.fixture
def unit() -> MakeUnit:
    """A result by hand: `losses` of the tasks after each of two epochs, and what is changed."""

    def unit(key: str, seed: int, rerun: int, losses: list[float], **change: Any) -> dict[str, Any]:
        epoch = {
            "train_losses": [2 * loss for loss in losses],
            "losses": losses,
            "accuracy": [0.5, 0.75, 1.0],
            "auroc": [None, None, None],
            "conflicts": None,
            "gradnorm": None,
            "skipped": 0,
            "seconds": 1.5,
        }
        first = epoch | {"losses": [2 * loss for loss in losses]}
        content = {
            "key": key,
            "seed": seed,
            "rerun": rerun,
            "settings": {},
            "source": "hand",
            "images": [300, 110, 3, 8, 8],
            "identity": "one-two",
            "tasks": ["digit", "rotation", "colour"],
            "weights": [1.0, 0.8, 0.5],
            "device": "CPU",
            "blocks": [],
            "epochs": [first, epoch],
            "looks": [[2, [9.0, 1.0, 1.0]], [4, losses]],
            "step_ms": 12.5,
            "peak_memory_mb": 321.0,
            "shown": {
                "rows": [0, 5, 7],
                "true": [[1, 2, 3], [0, 1, 2], [5, 4, 3]],
                "predicted": [[1, 2, 4], [0, 1, 2], [5, 4, 3]],
            },
        }
        return content | change

    return unit


@pytest.fixture
def results(unit: MakeUnit) -> Callable[[Reproduction], list[dict[str, Any]]]:
    """A result of every run of a plan; each method's loss is its own, with a little noise."""

    def results(plan: Reproduction) -> list[dict[str, Any]]:
        results = {}
        levels = {method_recipe(plan, name).key: 1 - 0.1 * i for i, name in enumerate(plan.methods)}
        if plan.attention is not None:
            for i, name in enumerate(plan.attention.attentions):
                for on in (True, False):
                    key = attention_recipe(plan, name, adaptive=on).key
                    levels.setdefault(key, 2 + i + 0.5 * on)
        for key, level in levels.items():
            conflicts = {"conflict_ratio": [0.25, 0.75]} if level < 1 else None
            for seed in plan.seeds.values:
                for rerun in range(plan.reruns):
                    noise = 0.01 * (seed + rerun) * level
                    one = unit(key, seed, rerun, [level + noise, 0.25, 0.1])
                    for epoch in one["epochs"]:
                        epoch["conflicts"] = conflicts
                    one["blocks"] = ["convs.0.weight.0", "linear.weight.0"] if conflicts else []
                    results[key, seed, rerun] = one
        if plan.sweep is not None:
            for i, point in enumerate(points(plan.sweep)):
                key = sweep_recipe(plan, *point).key
                for seed in plan.sweep.seeds.values:
                    results[key, seed, 0] = unit(key, seed, 0, [3.0 + i + 0.1 * seed, 0.0, 0.0])
        return list(results.values())

    return results


@pytest.fixture(autouse=True)
def _no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECSYS_MTL_DATA", raising=False)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """The file of a small reproduction on scikit-learn's digits, with keys changed."""

    def write(**keys: Any) -> Path:
        document = {
            "name": "small",
            "dataset": {"kind": "rot_mnist", "rows": {"train": 200, "test": 90}},
            "model": {"kind": "small_cnn", "channels": [4], "width": 6},
            "training": {"epochs": 1, "batch_size": 64, "device": "cpu"},
            "seeds": {"count": 2},
            "reruns": 1,
            "methods": {
                "sum": {},
                "single_task": {"alone": True},
                "gradnorm": {"balancing": "gradnorm"},
                "cagt": {"combiner": {"name": "cagt", "block_size": 100}},
            },
            "threshold": {"loss": 4.5, "every": 2, "images": 30},
            "published": {"methods": {"cagt": {"loss": [0.2525, 0.021]}}},
            "tracking": {"enabled": False},
        }
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump(document | keys, sort_keys=False))
        return path

    return write


@pytest.fixture
def reproduce(tmp_path: Path) -> Callable[..., int]:
    """The command, with one process, into `out`."""

    def reproduce(plan: Path | str, *arguments: str) -> int:
        out = ["--out", str(tmp_path / "out"), "--processes", "1"]
        return main(["reproduce", str(plan), *out, *arguments])

    return reproduce
