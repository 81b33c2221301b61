"""Ablations from a few lines of YAML, and results of units made by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys_mtl.ablation.plan import Ablation, load_ablation

Make = Callable[..., Ablation]


@pytest.fixture(scope="session")
def tiny() -> dict[str, Any]:
    """The content of a tiny ablation's file."""
    return {
        "name": "tiny",
        "synthetic": {"plan": "demo", "rows": 3000, "change": {"features.items": [100]}},
        "change": {
            "training.recipe": "none",
            "training.epochs": 2,
            "training.batch_size": 256,
            "model.embedding.backend": "plain",
            "model.embedding.dim": 4,
        },
        "seeds": {"first": 0, "count": 2},
        "ready": ["off", "published"],
        "tracking": {"enabled": False},
    }


@pytest.fixture
def make(tmp_path: Path, tiny: dict[str, Any]) -> Make:
    """An ablation: the tiny one with keys changed, read from a file."""

    def make(*overrides: str, **keys: Any) -> Ablation:
        path = tmp_path / "ablation.yaml"
        path.write_text(yaml.safe_dump(tiny | keys, sort_keys=False))
        return load_ablation(path, overrides)

    return make


@pytest.fixture
def unit() -> Callable[..., dict[str, Any]]:
    """The result of one unit, without a truth unless `true` scores are given."""

    def unit(
        arm: str,
        seed: int,
        scores: Mapping[str, float | None],
        *,
        true: Mapping[str, float | None] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        return {
            "arm": arm,
            "seed": seed,
            "config_hash": "0" * 16,
            "scores": dict(scores),
            "true_scores": dict(true or {}),
            "reachable": {task: [0.5, 0.9] for task in true or {}},
            "measure": "gradient_cosine",
            "threshold": -0.1,
            "losses": dict.fromkeys(scores, 0.5),
            "labelled": dict.fromkeys(scores, 100 + seed),
            "relation": {},
            "kinds": dict.fromkeys(scores, "binary"),
            "epochs": 4,
            "best_epoch": 2,
            "train_seconds": 8.0,
            "seconds": 9.0,
            "peak_memory_mb": 100.0,
            "transfer": [],
        } | more

    return unit


@pytest.fixture
def ablation(toy: Any) -> Callable[..., Path]:
    """The file of an ablation of the toy data, with keys changed."""

    def write(**keys: Any) -> Path:
        document = {
            "name": "toys",
            "base": str(toy.folder / "toy.yaml"),
            "change": {"training.epochs": 1},
            "seeds": {"first": 5, "count": 2},
            "ready": ["off", "published"],
            "arms": {"slow": {"training.optimizer.learning_rate": 1e-5}},
            "tracking": {"enabled": False},
        }
        path: Path = toy.folder / "ablation.yaml"
        path.write_text(yaml.safe_dump(document | keys, sort_keys=False))
        return path

    return write
