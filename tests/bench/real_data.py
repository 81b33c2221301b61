"""The ready configs on their real data over several seeds, as Markdown tables.

`python tests/bench/real_data.py --data FOLDER --seeds 11 12 13` trains every config with baselines
once a seed; a seed governs the split, the initialisation and the order. Cells are means over the
seeds; the last column is the paired difference of the model to gradient boosting with its 95 %
t-interval.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from pathlib import Path
from typing import Any

from scipy.stats import t as student

from recsys_mtl.config import load_config
from recsys_mtl.runs.train import train

CONFIGS = Path(__file__).parents[2] / "configs"
MODELS = ("model", "constant", "gradient_boosting", "single_task", "shared_bottom")
METRICS = {
    "binary": ("auc", "log_loss", "calibration_error"),
    "multiclass": ("accuracy", "log_loss"),
    "regression": ("rmse", "rank_correlation"),
}


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of the data sets")
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--configs", nargs="+", default=["hillstrom", "bank_churn"])
    chosen = parser.parse_args()
    for name in chosen.configs:
        results = [_train(name, chosen.data, seed) for seed in chosen.seeds]
        print(f"\n{name}, seeds {', '.join(map(str, chosen.seeds))}:\n")
        print(_table(results))


def _train(name: str, data: str, seed: int) -> dict[str, Any]:
    overrides = [f"seed={seed}", f"data.root={data}", "tracking.enabled=false"]
    config = load_config(CONFIGS / f"{name}.yaml", overrides)
    with tempfile.TemporaryDirectory() as out:
        return train(config, Path(out), baselines=["gradient_boosting"])


def _table(results: list[dict[str, Any]]) -> str:
    head = ["task", "metric", *(m.replace("_", " ") for m in MODELS), "model − boosting [95 %]"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for task, about in results[0]["tasks"].items():
        for metric in METRICS[about["kind"]]:
            values = {model: _values(results, model, task, metric) for model in MODELS}
            cells = [f"{statistics.mean(v):.4f}" if v else "undefined" for v in values.values()]
            gap = _interval(values["model"], values["gradient_boosting"])
            lines.append(f"| {' | '.join([task, metric, *cells, gap])} |")
    return "\n".join(lines)


def _values(results: list[dict[str, Any]], model: str, task: str, metric: str) -> list[float]:
    """One value a seed; none where any seed's is undefined."""
    tables = [r["tasks"] if model == "model" else r["baselines"][model] for r in results]
    cells = [(t[task]["metrics"] if model == "model" else t[task])[metric] for t in tables]
    results = [cell["value"] for cell in cells]
    return [] if None in results else results


def _interval(ours: list[float], theirs: list[float]) -> str:
    """Mean paired difference and its t-interval."""
    if not ours or not theirs:
        return "undefined"
    gaps = [a - b for a, b in zip(ours, theirs, strict=True)]
    mean = statistics.mean(gaps)
    if len(gaps) < 2:
        return f"{mean:+.4f}"
    half = student.ppf(0.975, len(gaps) - 1) * statistics.stdev(gaps) / math.sqrt(len(gaps))
    return f"{mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}]"


if __name__ == "__main__":
    main()
