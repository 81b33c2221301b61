"""Thinned negatives: which rows are kept, and that nothing else is changed by it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from recsys_mtl.config import Config
from recsys_mtl.config.check import contradictions
from recsys_mtl.config.yaml_text import dotted
from recsys_mtl.data.batch import Batch, concat
from recsys_mtl.data.prepare import Prepared, prepare
from recsys_mtl.runs.compare_baselines import HeldRows
from recsys_mtl.runs.one_task import one_task
from recsys_mtl.wiring.trainer import fit_and_test, fit_network
from tests.encoded import numbers
from tests.toy import Toy

KEEP = ("data.negatives.task=click", "data.negatives.keep=0.3")
THROUGH = ("tasks.buy.only_where=null", "tasks.buy.through=click")


def rows_of(prepared: Prepared, split: str = "train") -> Batch:
    return concat(list(prepared.loaders[split].epoch(0)))


def names(batch: Batch) -> list[tuple[float, ...]]:
    """Their numbers name the rows: (N,) sorted."""
    return sorted(tuple(row) for row in numbers(batch).tolist())


@pytest.fixture(scope="module")
def everything(shared_toy: Toy) -> Prepared:
    return prepare(shared_toy.config())


@pytest.fixture(scope="module")
def kept(shared_toy: Toy) -> Prepared:
    return prepare(shared_toy.config(*KEEP))


def test_negatives_alone_are_left_out_and_kept_ones_stand_for_them(
    everything: Prepared, kept: Prepared
) -> None:
    full, few = rows_of(everything), rows_of(kept)
    clicked, kept_clicks = (batch.labels[:, 0] == 1 for batch in (full, few))
    assert int(clicked.sum()) == int(kept_clicks.sum())
    left_out = full.num_rows - few.num_rows
    assert 0.6 < left_out / int((~clicked).sum()) < 0.8
    rows = {**everything.rows, "train": few.num_rows, "negatives_left_out": left_out}
    assert kept.rows == rows
    assert set(names(few)) < set(names(full))
    own = few.weights * torch.where(kept_clicks, 1.0, 0.3)
    assert {round(w, 4) for w in own.tolist()} == {0.5, 1.0, 2.0}
    assert float(few.weights.sum()) == pytest.approx(float(full.weights.sum()), rel=0.15)
    for split in ("valid", "test"):
        assert torch.equal(rows_of(everything, split).weights, rows_of(kept, split).weights)
    assert kept.preprocessor.to_dict() == everything.preprocessor.to_dict()


@pytest.mark.parametrize(
    "changes",
    [
        ("training.batch_size=7",),
        ("data.loading=stream", "data.shuffle_buffer=50"),
        ("tasks.item.weight=2",),
    ],
)
def test_the_same_rows_are_kept_however_they_are_read(
    shared_toy: Toy, kept: Prepared, changes: tuple[str, ...]
) -> None:
    other = prepare(shared_toy.config(*KEEP, *changes))
    assert names(rows_of(other)) == names(rows_of(kept))
    assert other.loaders["train"].num_rows == kept.rows["train"]


def test_seed_and_share_decide(shared_toy: Toy, kept: Prepared) -> None:
    same_split = "data.split={kind: time, column: day}"
    config = shared_toy.config(*KEEP, same_split, "data.ignore=[customer]")
    first, other, more = (
        set(names(rows_of(prepare(config.model_copy(update=change)))))
        for change in (
            {},
            {"seed": 1},
            {"data": config.data.model_copy(
                update={"negatives": config.data.negatives.model_copy(update={"keep": 0.6})}
            )},
        )
    )  # fmt: skip
    assert first != other
    assert first < more


def test_unlabelled_rows_and_those_of_weight_0_are_no_negatives(toy: Toy) -> None:
    rows = toy.rows().with_row_index("id")
    odd = pl.col("id") % 2 == 1
    frame = rows.with_columns(
        click=pl.when(pl.col("id") % 3 == 0).then(None).otherwise(pl.col("click")),
        importance=pl.when(odd).then(0.0).otherwise(pl.col("importance")),
    )
    frame.drop("id").write_parquet(toy.data)
    everything, kept = prepare(toy.config()), prepare(toy.config(*KEEP))

    def count(prepared: Prepared) -> int:
        return int(rows_of(prepared).labels[:, 0].isnan().sum())

    assert count(kept) == count(everything) > 150


@pytest.mark.slow  # trainings
def test_a_task_behind_another_has_its_own_negatives_and_baselines_see_weights(
    shared_toy: Toy,
) -> None:
    config = shared_toy.config(*THROUGH, "data.negatives={task: buy, keep: 0.2}")
    prepared = prepare(config)
    rows = rows_of(prepared)
    full = rows_of(prepare(shared_toy.config(*THROUGH)))
    assert int((rows.labels[:, 1] == 1).sum()) == int((full.labels[:, 1] == 1).sum())
    share = int((rows.labels[:, 1] == 0).sum()) / int((full.labels[:, 1] == 0).sum())
    assert 0.1 < share < 0.3
    held = HeldRows.of(config, prepared)
    assert sorted(held.train.weights.tolist()) == sorted(rows.weights.tolist())
    single, narrowed = one_task(config, prepared, "spend")  # lacks the thinned task
    assert fit_network(single, narrowed).result.epochs


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"task": "clik", "keep": 0.1}, ["data.negatives.task: unknown task"]),
        ({"task": "spend", "keep": 0.1}, ["data.negatives.task: task 'spend' has no negatives"]),
        (
            {"task": "buy", "keep": 0.1},
            ["tasks.buy.loss: the correction for thinned negatives is of cross-entropy"],
        ),
        ({"task": "click", "keep": 0.1}, []),
    ],
)
def test_contradictions(change: dict[str, object], expected: list[str]) -> None:
    config = Config.model_validate(
        {
            "name": "shop",
            "data": {"path": "rows.parquet", "negatives": change},
            "features": {"age": {"kind": "numeric"}},
            "tasks": {
                "click": {"kind": "binary"},
                "buy": {"kind": "binary", "loss": "focal"},
                "spend": {"kind": "regression"},
            },
        }
    )
    assert [f"{dotted(one.path)}: {one.what}" for one in contradictions(config)] == expected


@pytest.mark.slow  # trainings
def test_predictions_of_all_tasks_stay_calibrated(tmp_path) -> None:
    """Of the thinned task by its logits, of the others, related ones, by the weights."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=40_000)
    click = rng.random(len(x)) < 1 / (1 + np.exp(3 - x))
    frame = pl.DataFrame(
        {
            "x": x,
            "click": click.astype(int),
            "buy": (click & (rng.random(len(x)) < 0.3)).astype(int),
            "spend": x + 2.0 * click + rng.normal(size=len(x)),  # depends on the click itself
        }
    )
    frame.write_parquet(tmp_path / "rows.parquet")
    config = Config.model_validate(
        {
            "name": "rows",
            "data": {
                "path": str(tmp_path / "rows.parquet"),
                "negatives": {"task": "click", "keep": 0.1},
            },
            "features": {"x": {"kind": "numeric"}},
            "tasks": {
                "click": {"kind": "binary"},
                "buy": {"kind": "binary", "through": "click"},
                "spend": {"kind": "regression"},
            },
            "training": {"recipe": "none", "threads": 1, "epochs": 6, "batch_size": 256},
            "tracking": {"enabled": False},
        }
    )
    prepared = prepare(config)
    assert prepared.rows["train"] < 0.25 * prepared.rows["negatives_left_out"]
    _, scores = fit_and_test(config, prepared)
    for task in ("click", "buy"):
        assert scores.metrics[task]["calibration_ratio"] == pytest.approx(1, abs=0.12)
    assert scores.predictions["spend"].mean() == pytest.approx(
        scores.labels["spend"].mean(), abs=0.1
    )
