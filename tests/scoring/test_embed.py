from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from recsys_mtl.cli.main import main
from recsys_mtl.errors import UserError
from recsys_mtl.scoring import embed as module
from recsys_mtl.scoring.embed import embed
from recsys_mtl.scoring.model import find_model
from recsys_mtl.serving.bundle import load_bundle


def vectors(path: Path) -> np.ndarray:
    return pl.read_parquet(path)["vector"].to_numpy()


def test_their_products_are_the_predicted_scores(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy, predictor = trained[0], load_bundle(trained[0].run / "model")
    monkeypatch.setattr(module, "_AT_ONCE", 70)
    monkeypatch.setattr(module, "_ITEMS_AT_ONCE", 3)
    out, result = tmp_path / "v", tmp_path / "r"
    arguments = [str(toy.run), "--input", str(toy.data), "--output", str(out), "--out", str(result)]
    assert main(["embed", *arguments, "--id", "customer", "--batch-rows", "150"]) == 0
    rows, users = toy.rows(), pl.read_parquet(out / "users.parquet")
    items = pl.read_parquet(out / "items.parquet")
    assert users["id"].to_list() == rows["customer"].to_list()
    assert sorted(items["id"]) == ["a", "b", "c", "d"]
    schema = pq.read_schema(out / "users.parquet").field("vector").type
    assert str(schema) == "fixed_size_list<element: float>[4]"
    scores = vectors(out / "users.parquet") @ vectors(out / "items.parquet").T
    predicted = predictor.predict(rows)
    best = np.argsort(-scores, axis=1)[:, :3]
    assert items["id"].to_numpy()[best].tolist() == predicted["item"].list.head(3).to_list()
    top = np.take_along_axis(scores, best, 1)
    np.testing.assert_allclose(top, predicted["item_scores"].list.head(3).to_list(), atol=1e-6)
    told = json.loads((result / "result.json").read_text())
    assert (told["task"], told["rows"], told["items"], told["dim"]) == ("item", 500, 4, 4)
    assert sorted(path.name for path in out.iterdir()) == ["items.parquet", "users.parquet"]


def test_rows_have_numbers_and_there_may_be_none(trained: Any, tmp_path: Path) -> None:
    toy, _ = trained
    for count in (7, 0):
        toy.rows().head(count).write_parquet(tmp_path / "rows.parquet")
        model = find_model(toy.run)
        embed(model, input=str(tmp_path / "rows.parquet"), output=tmp_path / "v", task="item")
        users = pl.read_parquet(tmp_path / "v" / "users.parquet")
        assert users["id"].to_list() == [*range(count)]
        assert users.schema == {"id": pl.Int64(), "vector": pl.Array(pl.Float32(), 4)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "itm"}, "--task: which retrieval task?; expected one of: item; found itm"),
        ({"task": "click"}, "--task: which retrieval task?; expected one of: item; found click"),
        ({"id": "custmer"}, "--id: no column 'custmer'"),
        ({"output": "FOLDER"}, "the output folder holds the input"),
        (
            {"input": "FOLDER/*.parquet", "output": "FOLDER/v.parquet"},
            "the output would be among the input",
        ),
        ({"output": "FOLDER/rows.parquet"}, "cannot write the output folder; found a file"),
        ({"output": "FOLDER/other"}, "other/items.parquet: no embed wrote this file"),
    ],
)
def test_what_is_refused(
    trained: Any, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    toy, _ = trained
    rows = tmp_path / "rows.parquet"
    toy.rows().head(3).write_parquet(rows)
    (tmp_path / "other").mkdir()
    pl.DataFrame({"id": [1]}).write_parquet(tmp_path / "other" / "items.parquet")
    output = changes.pop("output", "FOLDER/v").replace("FOLDER", str(tmp_path))
    read = changes.pop("input", str(rows)).replace("FOLDER", str(tmp_path))
    with pytest.raises(UserError) as refused:
        embed(find_model(toy.run), input=read, output=output, **changes)
    assert message in str(refused.value)
    assert not (tmp_path / "v").exists()
    if output.endswith("other"):
        embed(find_model(toy.run), input=str(rows), output=output, overwrite=True)
