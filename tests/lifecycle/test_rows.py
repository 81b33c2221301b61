from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from recsys_mtl.config.data import GroupSplitConfig
from recsys_mtl.errors import UserError
from recsys_mtl.lifecycle.rows import (
    LoadedVersion,
    check_predicts,
    choose_rows,
    group_column,
    load,
    measure,
    seen_in_training,
)
from recsys_mtl.serving.bundle import load_bundle
from recsys_mtl.serving.predictor import Predictor

Trained = tuple[Any, dict[str, Any]]
Make = Callable[..., Any]


@pytest.fixture
def predictor(trained: Trained) -> Predictor:
    return load_bundle(trained[0].run / "model")


def other(predictor: Predictor, fingerprint: str | None = None, **changes: Any) -> LoadedVersion:
    """A champion like `predictor`, its config changed: `seed`, or keys of `data`."""
    config = predictor.config
    seed = changes.pop("seed", config.seed)
    data = config.data.model_copy(update=changes)
    config = config.model_copy(update={"seed": seed, "data": data})
    trained_on = predictor.fingerprint if fingerprint is None else fingerprint
    made = Predictor(config, predictor.preprocessor, predictor.network, trained_on)
    return LoadedVersion("champion, version 1", made)


def test_the_test_split_gives_the_metrics_of_the_training(
    trained: Trained, predictor: Predictor
) -> None:
    _, result = trained
    challenger = LoadedVersion("challenger, version 2", predictor)
    rows = choose_rows(challenger, other(predictor), input=None, data=None)
    own = measure(challenger, rows)
    scores = own.scores
    assert (own.fingerprint, own.groups) == (result["data"]["fingerprint"], None)
    assert len(scores.weights) == result["data"]["rows"]["test"]
    auc = result["tasks"]["click"]["metrics"]["auc"]["value"]
    assert scores.metrics["click"]["auc"] == pytest.approx(auc)
    theirs = measure(other(predictor), rows).scores
    assert np.array_equal(theirs.labels["spend"], scores.labels["spend"], equal_nan=True)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"seed": 7}, "another seed"),
        ({"fingerprint": "f00"}, "another data"),
        ({"fingerprint": ""}, "another data"),
        ({"seed": 7, "fingerprint": "f00"}, "another data and another seed"),
    ],
)
def test_rows_that_the_champion_may_have_seen_are_refused(
    predictor: Predictor, changes: dict[str, Any], difference: str
) -> None:
    challenger, champion = (
        LoadedVersion("challenger, version 2", predictor),
        other(predictor, **changes),
    )
    with pytest.raises(
        UserError, match=f"may be rows .* found {difference} -> .*--input"
    ) as caught:
        choose_rows(challenger, champion, input=None, data=None)
    assert "\n" not in str(caught.value)
    assert choose_rows(challenger, champion, input="x", data=None).title == "all rows of x"


def test_another_split_is_refused_and_another_way_to_load_is_not(predictor: Predictor) -> None:
    challenger = LoadedVersion("challenger, version 2", predictor)
    split = predictor.config.data.split.model_copy(update={"test": 0.1})
    with pytest.raises(UserError, match=r"found another data\.split"):
        choose_rows(challenger, other(predictor, split=split), input=None, data=None)
    champion = other(predictor, loading="stream", root="elsewhere")
    assert choose_rows(challenger, champion, input=None, data=None).fingerprint


def test_all_rows_of_an_input_are_measured(
    trained: Trained, predictor: Predictor, tmp_path: Path
) -> None:
    toy, _ = trained
    frame = toy.rows().head(70).with_columns(more=pl.lit(1))
    frame.write_parquet(tmp_path / "some.parquet")
    model = LoadedVersion("challenger, version 2", predictor)
    rows = choose_rows(model, None, input="some.parquet", data=str(tmp_path))
    own = measure(model, rows)
    scores = own.scores
    assert scores.labels["click"].tolist() == frame["click"].to_list()
    assert scores.weights == pytest.approx(frame["importance"].to_numpy())
    assert not seen_in_training(predictor, own.fingerprint)
    complete = choose_rows(model, None, input=str(toy.data), data=None)
    assert seen_in_training(predictor, measure(model, complete).fingerprint)


def test_rows_of_one_group_of_the_split_depend_on_each_other(
    trained: Trained, predictor: Predictor, tmp_path: Path
) -> None:
    frame = trained[0].rows().head(70)
    frame.write_parquet(tmp_path / "some.parquet")
    frame.drop("customer").write_parquet(tmp_path / "without.parquet")
    split = GroupSplitConfig(kind="group", column="customer")
    model = other(predictor, split=split)

    def dependent(name: str) -> Any:
        rows = choose_rows(model, None, input=str(tmp_path / name), data=None)
        return measure(model, rows, grouped_by=group_column(model.predictor.config)).groups

    numbers, customers = dependent("some.parquet"), frame["customer"].to_numpy()
    alike = customers[:, None] == customers
    assert ((numbers[:, None] == numbers) == alike).all()
    assert alike.sum() > len(frame)
    assert dependent("without.parquet") is None


def test_wrong_rows_are_reported_with_the_model(
    trained: Trained, predictor: Predictor, tmp_path: Path
) -> None:
    toy, _ = trained
    toy.rows().drop("age").write_parquet(tmp_path / "toy.parquet")
    model = LoadedVersion("champion, version 1", predictor)
    rows = choose_rows(model, None, input=str(tmp_path / "toy.parquet"), data=None)
    with pytest.raises(UserError, match=r"^champion, version 1: features\.age: missing column"):
        measure(model, rows)
    rows = choose_rows(model, None, input=None, data=str(tmp_path))
    toy.rows().head(99).write_parquet(tmp_path / "toy.parquet")
    with pytest.raises(UserError, match=r"^champion, version 1: data\.path: the data have changed"):
        measure(model, rows)


def test_a_model_has_to_predict(predictor: Predictor) -> None:
    model = LoadedVersion("previous champion, version 4", predictor)
    check_predicts(model)
    with torch.no_grad():
        for parameter in predictor.network.parameters():
            parameter.fill_(float("nan"))
    message = "^previous champion, version 4: predicts numbers that are not finite"
    with pytest.raises(UserError, match=message):
        check_predicts(model)


def test_a_damaged_bundle_is_reported_with_its_version(
    trained: Trained, make_registry: Make, tmp_path: Path
) -> None:
    toy, _ = trained
    folder = tmp_path / "model"
    folder.mkdir()
    for path in (toy.run / "model").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    registry = make_registry()
    registry.download = lambda version: folder
    version = registry.resolve("shop/3", where="")
    assert load(registry, version, "challenger").title == "challenger, version 3"
    (folder / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(UserError, match=r"^challenger, version 3: .* changed since it was saved"):
        load(registry, version, "challenger")
