"""The oracle is right: the stated metrics are met, and all latents together come near them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import r2_score, roc_auc_score
from threadpoolctl import threadpool_limits

from data_synth import Plan, Truth, synthesize
from data_synth.block import ROWS, RowBlock
from data_synth.targets import ItemTarget
from data_synth.world import World
from recsys_mtl.tasks.evaluate import evaluate_task

COUNT = 2 * ROWS
BATCHES = 32
SIGMAS = 4.5  # some 80 comparisons, seeded: a chance of 5e-4 that one of them passes it

TASKS = [
    "click", "click_noisy", "bought", "kept", "kept_noisy", "segment", "segment_noisy", "normal",
    "normal_noisy", "lognormal", "lognormal_noisy", "unit", "unit_noisy", "merchant",
    "merchant_noisy",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(
    tmp_path_factory: pytest.TempPathFactory, plan_of: Callable[..., Plan]
) -> tuple[Truth, pl.DataFrame]:
    out = tmp_path_factory.mktemp("kinds")
    synthesize(plan_of("kinds"), out, rows=COUNT, processes=1)
    files = sorted((out / "rows").glob("*/*.parquet"))
    return Truth.open(Path(out)), pl.read_parquet(files, hive_partitioning=False)


def predictions(truth: Truth, rows: pl.DataFrame, task: str, who: str) -> tuple[Any, Any]:
    """Labels and the predictions of the oracle or the constant, of labelled rows."""
    rows = rows.filter(pl.col(task).is_not_null())
    labels = truth.label_index(task, rows[task].to_arrow())
    target = truth.targets[task]
    linear = truth.linear(rows["row_id"].to_numpy(), [task])[task]
    if who == "constant":
        value = target.constant()
        if target.kind == "retrieval":
            return labels, (np.argsort(np.argsort(-value)) + 1.0)[labels.astype(int)]
        return labels, np.broadcast_to(value, (len(labels), *value.shape))
    if isinstance(target, ItemTarget):
        return labels, target.ranks(linear, labels.astype(int)).astype(np.float64)
    return labels, target.predict(linear)


@pytest.mark.parametrize("who", ["oracle", "constant"])
@pytest.mark.parametrize("task", TASKS)
def test_the_stated_metrics_are_met(task: str, who: str, data: tuple[Truth, pl.DataFrame]) -> None:
    """Within the standard error, estimated from batches of independent rows."""
    truth, rows = data
    stated = truth.content["tasks"][task][who]
    labels, predicted = predictions(truth, rows, task, who)
    kind = truth.targets[task].kind
    overall = evaluate_task(kind, labels, predicted)  # type: ignore[arg-type]
    parts = [
        evaluate_task(kind, labels[part], predicted[part])  # type: ignore[arg-type]
        for part in np.array_split(np.arange(len(labels)), BATCHES)
    ]
    assert len(stated) >= 2
    for metric, value in stated.items():
        spread = np.std([part[metric] for part in parts], ddof=1)
        bound = SIGMAS * spread / np.sqrt(BATCHES) + 1e-6  # stated to six digits
        if (who, metric) == ("constant", "r2"):
            bound += 1 / len(labels)  # its mean is that of the plan, not that of these rows
        assert abs(overall[metric] - value) < bound, (metric, overall[metric], value)


def test_every_task_is_looked_at(data: tuple[Truth, pl.DataFrame]) -> None:
    assert list(data[0].targets) == TASKS


PLAN = ("small", "tasks.spend.distribution=normal", "customers.persistence=0.5")


def latents(world: World, block: RowBlock, task: int) -> np.ndarray:
    """The state, the effect on the task of the row's item, and the day."""
    [items] = world.items
    rank = np.empty(items.zipf.ids, dtype=np.int32)
    rank[items.zipf.names(np.arange(items.zipf.ids, dtype=np.int32))] = np.arange(items.zipf.ids)
    effect = items.act(rank[block.rows["item_01"].to_numpy()])[:, task]
    return np.column_stack([block.state.u, effect, block.state.day])


def features(block: RowBlock) -> np.ndarray:
    """All columns that a model may see, as numbers; lists by their first entries."""
    frame = pl.from_arrow(block.rows)
    assert isinstance(frame, pl.DataFrame)
    columns = frame.drop("row_id", "customer_id", "day", "click", "buy", "stay", "segment",
                         "spend", "shop")  # fmt: skip
    recent = [pl.col("recent_01").list.get(i, null_on_oob=True).alias(str(i)) for i in range(3)]
    actual = columns.with_columns(*recent).drop("recent_01").with_columns(
        pl.col("education", "region").to_physical()
    )  # fmt: skip
    return actual.cast(pl.Float64).to_numpy()


@pytest.mark.slow
@pytest.mark.parametrize(("task", "index"), [("click", 0), ("spend", 3)])
def test_all_latents_come_near_the_oracle_and_features_stay_below(
    task: str, index: int, world_of: Any, blocks_of: Any
) -> None:
    world, blocks = world_of(*PLAN), blocks_of(6, *PLAN)
    train, test = blocks[:5], blocks[5]
    binary = task == "click"
    model: Any = HistGradientBoostingClassifier if binary else HistGradientBoostingRegressor
    measure: Any = roc_auc_score if binary else r2_score

    def labels(chosen: list[RowBlock]) -> np.ndarray:
        return np.concatenate([block.rows[task].to_numpy() for block in chosen])

    def fitted(inputs: Callable[[RowBlock], np.ndarray], rows: int) -> np.ndarray:
        known = np.concatenate([inputs(block) for block in train])[:rows]
        boosted = model(learning_rate=0.05, max_iter=300, max_leaf_nodes=8, random_state=0)
        boosted.fit(known, labels(train)[:rows])
        seen = inputs(test)
        return boosted.predict_proba(seen)[:, 1] if binary else boosted.predict(seen)

    y = labels([test])
    with threadpool_limits(1, "openmp"):
        predictions = {
            "oracle": world.targets[task].predict(test.truth[task].to_numpy()),
            "latents": fitted(lambda block: latents(world, block, index), 5 * ROWS),
            "few": fitted(lambda block: latents(world, block, index), 3000),
            "features": fitted(features, 5 * ROWS),
        }

    def above(better: str, worse: str) -> float:
        """z of the difference of two metrics on the same rows, from batches."""
        parts = np.array_split(np.arange(len(y)), BATCHES)
        off = [
            measure(y[p], predictions[better][p]) - measure(y[p], predictions[worse][p])
            for p in parts
        ]
        return float(np.mean(off) / (np.std(off, ddof=1) / np.sqrt(BATCHES)))

    base = 0.5 if binary else 0.0
    share = {
        name: (measure(y, t) - base) / (measure(y, predictions["oracle"]) - base)
        for name, t in predictions.items()
    }
    assert above("oracle", "latents") > -SIGMAS  # nobody is better than the oracle
    assert above("latents", "few") > SIGMAS  # more rows bring it nearer …
    assert share["latents"] > 0.95  # … to all but the last twentieth
    assert above("latents", "features") > SIGMAS
    if not binary:  # a share of variance: no features reach more than truth.json allows
        se = 0.77 / np.sqrt(len(y))  # of an R2 at most
        reachable = measure(y, predictions["oracle"]) * world.observable()[index]
        assert measure(y, predictions["features"]) < reachable + SIGMAS * se
