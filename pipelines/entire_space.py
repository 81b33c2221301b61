"""Conversion on the entire space against conversion on clicked rows, where the truth is known.

    python pipelines/entire_space.py                                  # 6 seeds, biases 0 and 0.8
    python pipelines/entire_space.py --seeds 3 --rows 20000 --bias 0.8     # in short

Rows come from the preset `funnel`, whose clicks are biased: the true scores of click and conversion
correlate by `--bias`. Every arm predicts P(conversion | click) for all test rows, clicked or not,
which is compared with the true probability of each row: the error of the mean (bias), the root mean
squared error (RMSE) and the expected log loss over the oracle's. Below are the differences to the
click-only arm on the same seeds, with 95 % intervals by Student's t. `OUT/result.json` has all.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import polars as pl
import typer
from numpy.typing import NDArray
from scipy.special import xlogy

from data_synth import Truth
from data_synth.load import load_plan
from data_synth.train_config import train_config
from data_synth.write import synthesize
from recsys_mtl.cli.script import run_script
from recsys_mtl.config import Config, config_from_yaml
from recsys_mtl.data.prepare import Prepared, prepare
from recsys_mtl.metrics.differences import difference
from recsys_mtl.reports.cells import with_interval
from recsys_mtl.reports.output import envelope, prepare_out, write_result
from recsys_mtl.reports.page import Page, Table
from recsys_mtl.runs.reachable import row_ids
from recsys_mtl.training.evaluate import conditional_probability
from recsys_mtl.wiring.trainer import fit_and_test

Floats = NDArray[np.floating[Any]]
JOB = "entire_space"
CLICK_ONLY = "click only"
ARMS = {
    CLICK_ONLY: ("entire_space=false",),
    "ESMM": (),
    "ESMM, weight 8": ("weight=8",),  # about one over the click rate, as the mean over clicks has
    "ESCM² IPS": ("counterfactual=ips",),
    "ESCM² DR": ("counterfactual=dr",),
}
SETTINGS = (  # of every arm: the task terms are compared, not networks
    "training.recipe=none",
    "training.epochs=8",
    "training.batch_size=1024",
    "training.early_stopping.patience=2",
    "model.embedding.dim=8",
    "model.shared_experts=[{kind: mlp, count: 2, hidden: [64, 32]}]",
    "model.task_experts=[{kind: mlp, count: 1, hidden: [64, 32]}]",
    "model.tower.hidden=[32]",
    "features.day_number.transform={name: piecewise, bins: 16}",
    *(f"features.{name}.dim=4" for name in ("weekday", "education", "region")),
)
MEASURES = ("bias", "rmse", "log_loss", "joint_auc", "conditional_auc")


def entire_space(
    bias: Annotated[
        list[float] | None, typer.Option(help="correlation of the scores; repeat; else 0 and 0.8")
    ] = None,
    seeds: Annotated[int, typer.Option(min=2, help="pairs")] = 6,
    rows: Annotated[int, typer.Option(min=1000, help="of each seed")] = 30_000,
    set: Annotated[
        list[str] | None, typer.Option(help="K=V of the config of every arm; repeat")
    ] = None,
    out: Annotated[Path, typer.Option(help="folder of the result")] = Path(JOB),
) -> None:
    """Train every arm on biased rows; print its errors and the differences to click-only ones."""
    started, folder = datetime.now(UTC), prepare_out(out, JOB)
    found: dict[str, list[dict[str, dict[str, float]]]] = {}
    for seed in range(seeds):
        for value in bias or [0.0, 0.8]:
            found.setdefault(f"{value:g}", []).append(measured(value, seed, rows, set or []))
            write_result(folder, envelope(JOB, started=started) | {"measures": found})
    for planted, pairs in found.items():
        Page(f"Planted bias {planted}, {seeds} seeds", [means(pairs), differences(pairs)]).show()


def measured(
    bias: float, seed: int, rows: int, overrides: list[str]
) -> dict[str, dict[str, float]]:
    """The measures of every arm on the rows of a seed."""
    related = f"relations.exceptions=[{{between: [click, conversion], value: {bias}}}]"
    plan = load_plan("funnel", [f"seed={seed}", related])
    with TemporaryDirectory() as folder:
        synthesize(plan, Path(folder), rows=rows, processes=1)
        base = [*SETTINGS, f"seed={seed}", f"data.root={folder}", "tasks.conversion.through=click"]
        prepared, truth = None, Truth.open(Path(folder))
        numbers = {}
        for arm, changes in ARMS.items():
            own = [f"tasks.conversion.{change}" for change in changes]
            config = config_from_yaml(
                train_config(plan), where="funnel", overrides=[*base, *own, *overrides]
            )
            prepared = prepared or prepare(config)  # the arms differ in their losses alone
            numbers[arm] = _errors(config, prepared, truth)
    return numbers


def _errors(config: Config, prepared: Prepared, truth: Truth) -> dict[str, float]:
    """Train an arm and compare it with the truth on all test rows."""
    _, scores = fit_and_test(config, prepared)
    rows = pl.concat([f["row_id"].to_frame() for f in prepared.splits.frames("test", ["row_id"])])
    linear = truth.linear(row_ids(rows), ["conversion"])
    true = truth.targets["conversion"].predict(linear["conversion"])
    predicted = conditional_probability(
        scores.predictions["conversion"].astype(np.float64),
        scores.predictions["click"].astype(np.float64),
    )
    joint, given = scores.metrics["conversion"], scores.conditional["conversion"].metrics
    return {
        "bias": float(predicted.mean() - true.mean()),
        "rmse": float(np.sqrt(np.square(predicted - true).mean())),
        "log_loss": float((_entropy(true, predicted) - _entropy(true, true)).mean()),
        "joint_auc": float(joint["auc"]),  # type: ignore[arg-type]
        "conditional_auc": float(given["auc"]),  # type: ignore[arg-type]
    }


def _entropy(true: Floats, predicted: Floats) -> Floats:
    inside = predicted.clip(1e-7, 1 - 1e-7)
    entropy: Floats = -xlogy(true, inside) - xlogy(1 - true, 1 - inside)
    return entropy


def means(pairs: list[dict[str, dict[str, float]]]) -> Table:
    """The mean over seeds of every arm's measures."""
    cells = [
        [arm, *(f"{np.mean([one[arm][m] for one in pairs]):+.4f}" for m in MEASURES)]
        for arm in pairs[0]
    ]
    return Table("Mean over seeds", ("arm", *(m.replace("_", " ") for m in MEASURES)), cells)


def differences(pairs: list[dict[str, dict[str, float]]]) -> Table:
    """Every arm minus the click-only one, in points; of the bias the absolute values."""
    cells = [
        [
            arm,
            "|bias|" if measure == "bias" else measure.replace("_", " "),
            _cell(pairs, arm, measure),
        ]
        for arm in pairs[0]
        if arm != CLICK_ONLY
        for measure in MEASURES
    ]
    columns = ("arm", "measure", "difference")
    return Table(f"Points over '{CLICK_ONLY}' [95 %]", columns, cells, texts=2)


def _cell(pairs: list[dict[str, dict[str, float]]], arm: str, measure: str) -> str:
    of = abs if measure == "bias" else float
    values = [100 * (of(one[arm][measure]) - of(one[CLICK_ONLY][measure])) for one in pairs]
    one = difference(np.array(values))
    return with_interval(one.mean, one.low, one.high, 2)


if __name__ == "__main__":
    sys.exit(run_script(entire_space))
