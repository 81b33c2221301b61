"""Running ablations and reading their folders, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recsys_mtl.ablation.ablate import ablate
from recsys_mtl.ablation.plan import load_ablation
from recsys_mtl.ablation.result import AblationResult
from recsys_mtl.cli.command import show_page

Document = dict[str, Any]
COST = ("train_seconds", "seconds", "peak_memory_mb", "train_ratio")
SYNTHETIC: Document = {
    "base": None,
    "synthetic": {"plan": "demo", "rows": 3000, "change": {"features.items": [100]}},
    "change": {
        "training.recipe": "none",
        "training.epochs": 2,
        "training.batch_size": 256,
        "model.embedding.backend": "plain",
    },
}


def run(config: Path, out: Path, processes: int | None = None) -> AblationResult:
    return ablate(load_ablation(config), out, processes=processes, show=show_page)


def stored(out: Path) -> dict[str, Document]:
    """The results of all units, by path."""
    paths = sorted(path for path in (out / "units").rglob("*") if path.is_file())
    return {str(path.relative_to(out)): json.loads(path.read_text()) for path in paths}


def result_of(out: Path) -> Document:
    """What result.json holds, NaN being null."""
    result: Document = json.loads((out / "result.json").read_text(), parse_constant=pytest.fail)
    return result


def numbers(value: Any) -> Any:
    """A result without its costs and without the location of its data."""
    if isinstance(value, dict):
        left_out = (*COST, "config_hash")
        return {key: numbers(v) for key, v in value.items() if key not in left_out}
    return [numbers(v) for v in value] if isinstance(value, list) else value
