"""A retrieval task whose items are a shared table, from the config to the written vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys_mtl.config import load_config
from recsys_mtl.data.prepare import prepare
from recsys_mtl.metrics.retrieval import mrr, recall_at_k
from recsys_mtl.runs.evaluate import evaluate
from recsys_mtl.runs.train import train
from recsys_mtl.scoring.embed import embed
from recsys_mtl.scoring.model import find_model
from recsys_mtl.serving.bundle import load_bundle
from recsys_mtl.serving.export import save_export
from tests.toy import Toy

pytestmark = pytest.mark.slow


def table_toy(folder: Path, **model: Any) -> tuple[Toy, Path]:
    """Histories of ids whose next one follows from the last, as items of their table."""
    toy = Toy(folder)
    rng = np.random.default_rng(0)
    last = rng.integers(0, 30, 3000)
    seen = [[int(i), *rng.integers(0, 30, 2).tolist()] for i in last]
    rows = pl.DataFrame({"shown": last, "seen": seen, "next": (last + 1) % 30})
    rows = rows.with_columns(
        click=pl.Series(rng.integers(0, 2, 3000)),
        next=pl.when(pl.Series(rng.random(3000) < 0.9)).then(pl.col("next")),
    )
    rows.write_parquet(toy.data)
    document = toy.document() | {
        "features": {
            "shown": {"kind": "categorical", "table": "video", "dim": 8},
            "seen": {"kind": "sequence", "table": "video", "target": "shown", "encoder": "din"},
        },
        "tasks": {"next": {"kind": "retrieval", "table": "video"}, "click": {"kind": "binary"}},
    }
    document["data"] |= {"ignore": [], "weight": None}
    document["model"] |= model
    document["training"] |= {"epochs": 8, "batch_size": 128}
    return toy, toy.write(document)


def test_negatives_are_thinned_beside_items_of_a_table(tmp_path: Path) -> None:
    _, path = table_toy(tmp_path)
    config = load_config(path, ["data.negatives={task: click, keep: 0.5}"])
    prepared = prepare(config)
    rows, batch = prepared.rows, next(iter(prepared.loaders["train"].epoch(0)))
    clicked = batch.labels[:, list(config.tasks).index("click")] == 1
    assert batch.weights.tolist() == [1.0 if one else 2.0 for one in clicked]
    left_out = rows["negatives_left_out"]
    assert 0.2 < left_out / (rows["train"] + left_out) < 0.3  # half of the rows are negatives


@pytest.mark.parametrize(
    ("model", "overrides"),
    [
        ({}, []),
        (
            {"members": 3},
            ["training.precision=bf16", "combiner.name=cagt", "training.epochs=24"],
        ),
        ({"embedding": {"backend": "torchrec"}}, ["adatt.mechanism=gradient"]),
    ],
    ids=["plain", "members", "torchrec"],
)
def test_written_vectors_rank_as_evaluation_does(
    tmp_path: Path, model: dict[str, Any], overrides: list[str]
) -> None:
    toy, path = table_toy(tmp_path, **model)
    train(load_config(path, overrides), out=toy.run)
    rows = toy.rows()
    measured = evaluate(toy.run, input=str(toy.data)).numbers["tasks"]["next"]["metrics"]
    embed(find_model(toy.run), input=str(toy.data), output=tmp_path / "v")
    users, items = (
        pl.read_parquet(tmp_path / "v" / f"{side}.parquet") for side in ("users", "items")
    )
    index = {item: i for i, item in enumerate(items["id"])}
    known = rows["next"].is_not_null().to_numpy()
    label = np.array([index[str(i)] for i in rows["next"].drop_nulls()])
    scores = users["vector"].to_numpy()[known] @ items["vector"].to_numpy().T
    true = np.take_along_axis(scores, label[:, None], 1)
    ranks = scores.shape[1] - (scores < true).sum(1)
    ones = np.ones(len(ranks))
    assert measured["recall_at_3"]["value"] == pytest.approx(
        recall_at_k(ranks, ones, k=3), abs=1e-3
    )
    assert measured["mrr"]["value"] == pytest.approx(mrr(ranks, ones), rel=1e-4)
    assert measured["mrr"]["value"] > 0.25  # by chance 0.13
    predictor = load_bundle(toy.run / "model")
    assert "items.i_next" not in predictor.network.state_dict()


def test_it_warm_starts_by_value_and_is_exported(tmp_path: Path) -> None:
    toy, path = table_toy(tmp_path)
    train(load_config(path, []), out=toy.run)
    rows = toy.rows()
    before = load_bundle(toy.run / "model")
    grown = rows.with_columns(shown=pl.when(pl.col("shown") < 3).then(99).otherwise("shown"))
    grown.write_parquet(toy.data)
    overrides = ["training.epochs=1", "training.tables.learning_rate=1e-12"]
    config = load_config(path, [*overrides, f"training.warm_start.model={toy.run}"])
    result = train(config, out=tmp_path / "second")
    assert result["warm_start"]["tables"]["video"]["new"] == 1
    after = load_bundle(tmp_path / "second" / "model")
    old, new = (p.preprocessor.labels["next"].catalogue for p in (before, after))
    assert set(new) == {*old, "99"}
    vectors = [p.network.item_vectors("next")[1:].detach().numpy() for p in (before, after)]
    for item in old:
        np.testing.assert_allclose(
            vectors[0][old.index(item)], vectors[1][new.index(item)], atol=1e-4
        )
    assert save_export(toy.run / "model", tmp_path / "program")["checked"]
