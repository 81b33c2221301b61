"""A training config that fits the generated columns."""

from __future__ import annotations

from typing import Any

from data_synth.plan import Plan
from data_synth.views import DEMOGRAPHICS
from recsys_mtl.config import yaml_text

_HEAD = """\
# Trains on the generated rows next to this file (DIR is its folder):
#
#   recsys-mtl train DIR/train.yaml --data DIR
#   recsys-mtl evaluate runs/{name} --data DIR     # next to the best reachable metrics
"""


def train_config(plan: Plan) -> str:
    """YAML of a training on the plan's rows, every column used or ignored."""
    config = {
        "name": plan.name,
        "seed": plan.seed,
        "data": {
            "path": "rows",
            "split": {"kind": "group", "column": "customer_id", "valid": 0.15, "test": 0.15},
            "ignore": ["row_id", "customer_id", "day", "month"],
        },
        "features": _features(plan),
        "tasks": {name: task.trained() for name, task in plan.tasks.items()},
        "training": {"threads": 1},
    }
    return _HEAD.format(name=plan.name) + yaml_text.dump(config)


def _features(plan: Plan) -> dict[str, Any]:
    features = plan.features
    sections: dict[str, Any] = {
        "day_number": {"kind": "numeric"},
        "weekday": {"kind": "categorical"},
    }
    # A number is a monotone function of a normal view: its rank has all, bins only more weights.
    number = {"kind": "numeric", "transform": "quantile"}
    if features.demographics:
        sections |= {name: dict(number) for name in DEMOGRAPHICS[:4]}
        sections |= {name: {"kind": "categorical"} for name in ("education", "region")}
    sections |= {f"number_{index + 1:02}": dict(number) for index in range(features.numeric)}
    for prefix, kind, sizes in (
        ("category", "categorical", features.categorical),
        ("item", "categorical", features.items),
        ("recent", "categorical_list", features.lists),
    ):
        for index, ids in enumerate(sizes):
            rare = {"min_count": 2} if ids > 1000 else {}
            sections[f"{prefix}_{index + 1:02}"] = {"kind": kind} | rare
    return sections
